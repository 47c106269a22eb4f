"""Reads a running coordinator with grpcio: health, reflection, and calls made from reflection alone.

Usage: foreign_client.py PATH_OF_TRIBUTARY
"""

import json
import subprocess
import sys
import tempfile

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

SERVICES = ["ControlService", "EnrolmentService", "OrchestrationService", "TransferService"]
TIMEOUT_S = 10


def check(holds, what):
    print(("ok   " if holds else "FAIL ") + what)
    if not holds:
        sys.exit(1)


def call(channel, pool, method, **fields):
    """Calls a unary method of ControlService that is known by reflection only."""
    service = pool.FindServiceByName("tributary.v1.ControlService")
    descriptor = service.FindMethodByName(method)
    request = message_factory.GetMessageClass(descriptor.input_type)(**fields)
    answer = message_factory.GetMessageClass(descriptor.output_type)
    rpc = channel.unary_unary(
        f"/{service.full_name}/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=answer.FromString,
    )
    return rpc(request, timeout=TIMEOUT_S)


def read(address):
    channel = grpc.insecure_channel(address)
    health = health_pb2_grpc.HealthStub(channel).Check(
        health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S
    )
    check(health.status == health_pb2.HealthCheckResponse.SERVING, "health: serving")

    database = ProtoReflectionDescriptorDatabase(channel)
    served = set(database.get_services())
    missing = [name for name in SERVICES if f"tributary.v1.{name}" not in served]
    check(not missing, f"reflection: {len(served)} services, none missing {missing or ''}".rstrip())

    pool = descriptor_pool.DescriptorPool(database)
    runs = call(channel, pool, "ListRuns", limit=10).runs
    check(len(runs) == 0, "a new coordinator has no runs")
    try:
        call(channel, pool, "GetRun", run_id="no-such-run")
        check(False, "an unknown run is refused")
    except grpc.RpcError as error:
        check(error.code() == grpc.StatusCode.NOT_FOUND, f"an unknown run: {error.details()}")


def main():
    loopback = "127.0.0.1:0"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.argv[1], "--format", "json", "serve", "--data", folder + "/data"]
        command += ["--listen", loopback, "--admin", loopback]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            line = server.stdout.readline()
            check(line.startswith("{"), "the server says where it listens")
            read(json.loads(line)["listen"])
            server.terminate()
            check(server.wait(timeout=30) == 0, "the server stops in order")
        finally:
            server.kill()


main()
