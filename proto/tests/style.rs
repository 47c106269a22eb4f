//! The protos follow one style: everything is documented and named as buf's STANDARD rules ask.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    ServiceDescriptorProto,
};
use tributary_proto::FILE_DESCRIPTOR_SET;

/// Field numbers of descriptor.proto, of which the paths of source locations are made.
const FILE_MESSAGES: i32 = 4;
const FILE_ENUMS: i32 = 5;
const FILE_SERVICES: i32 = 6;
const MESSAGE_FIELDS: i32 = 2;
const MESSAGE_NESTED: i32 = 3;
const MESSAGE_ENUMS: i32 = 4;
const MESSAGE_ONEOFS: i32 = 8;
const ENUM_VALUES: i32 = 2;
const SERVICE_METHODS: i32 = 2;

fn files() -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("the set was just encoded");
    let ours = |file: &FileDescriptorProto| file.package() == "tributary.v1";
    set.file.into_iter().filter(ours).collect()
}

/// Where an item is and what it is called, for everything in a file.
#[derive(Default)]
struct Items {
    all: Vec<(Vec<i32>, String)>,
}

impl Items {
    fn of(file: &FileDescriptorProto) -> Self {
        let mut items = Self::default();
        for (index, message) in numbered(&file.message_type) {
            items.message(vec![FILE_MESSAGES, index], "", message);
        }
        for (index, list) in numbered(&file.enum_type) {
            items.list(vec![FILE_ENUMS, index], "", list);
        }
        for (index, service) in numbered(&file.service) {
            items.service(vec![FILE_SERVICES, index], service);
        }
        items
    }

    fn message(&mut self, path: Vec<i32>, outer: &str, message: &DescriptorProto) {
        let name = format!("{outer}{}", message.name());
        for (index, field) in numbered(&message.field) {
            self.add(
                &path,
                MESSAGE_FIELDS,
                index,
                format!("{name}.{}", field.name()),
            );
        }
        for (index, oneof) in numbered(&message.oneof_decl) {
            self.add(
                &path,
                MESSAGE_ONEOFS,
                index,
                format!("{name}.{}", oneof.name()),
            );
        }
        for (index, nested) in numbered(&message.nested_type) {
            let path = [path.as_slice(), &[MESSAGE_NESTED, index]].concat();
            self.message(path, &format!("{name}."), nested);
        }
        for (index, list) in numbered(&message.enum_type) {
            let path = [path.as_slice(), &[MESSAGE_ENUMS, index]].concat();
            self.list(path, &format!("{name}."), list);
        }
        self.all.push((path, name));
    }

    fn list(&mut self, path: Vec<i32>, outer: &str, list: &EnumDescriptorProto) {
        let name = format!("{outer}{}", list.name());
        for (index, value) in numbered(&list.value) {
            self.add(
                &path,
                ENUM_VALUES,
                index,
                format!("{name}.{}", value.name()),
            );
        }
        self.all.push((path, name));
    }

    fn service(&mut self, path: Vec<i32>, service: &ServiceDescriptorProto) {
        for (index, method) in numbered(&service.method) {
            let name = format!("{}.{}", service.name(), method.name());
            self.add(&path, SERVICE_METHODS, index, name);
        }
        self.all.push((path, service.name().to_owned()));
    }

    fn add(&mut self, path: &[i32], kind: i32, index: i32, name: String) {
        self.all.push(([path, &[kind, index]].concat(), name));
    }
}

fn numbered<T>(items: &[T]) -> impl Iterator<Item = (i32, &T)> {
    (0..).zip(items)
}

/// The comments above the items of a file, by their paths.
fn comments(file: &FileDescriptorProto) -> BTreeMap<Vec<i32>, String> {
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    locations
        .filter(|location| !location.leading_comments().trim().is_empty())
        .map(|location| {
            (
                location.path.clone(),
                location.leading_comments().trim().to_owned(),
            )
        })
        .collect()
}

fn is_pascal_case(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
}

fn is_lower_snake_case(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !name.contains("__")
        && !name.ends_with('_')
}

/// `RunState` as `RUN_STATE`.
fn upper_snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_uppercase());
    }
    snake
}

fn all_fields(messages: &[DescriptorProto]) -> Vec<String> {
    let mut names = Vec::new();
    for message in messages {
        let of_this = message.field.iter().map(|field| field.name().to_owned());
        // an optional field is the only one of a group that the compiler makes
        let groups = message.oneof_decl.iter();
        let groups = groups.filter(|one| !one.name().starts_with('_'));
        names.extend(of_this.chain(groups.map(|one| one.name().to_owned())));
        names.extend(all_fields(&message.nested_type));
    }
    names
}

#[test]
fn the_package_has_its_files() {
    let names: BTreeSet<String> = files().iter().map(|file| file.name().to_owned()).collect();
    for room in [
        "common",
        "control",
        "enrolment",
        "orchestration",
        "transfer",
    ] {
        assert!(
            names.contains(&format!("tributary/v1/{room}.proto")),
            "{room}: {names:?}"
        );
    }
}

#[test]
fn every_message_field_enum_value_service_and_call_has_a_comment_that_is_a_sentence() {
    let mut missing = Vec::new();
    for file in files() {
        let comments = comments(&file);
        for (path, name) in Items::of(&file).all {
            match comments.get(&path) {
                Some(comment) if comment.ends_with(['.', '!', '?']) => {}
                // the group that the compiler makes of an optional field
                None if name.contains("._") => {}
                comment => missing.push((name, comment.cloned())),
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn services_end_in_service_and_calls_have_messages_of_their_own() {
    let mut seen = BTreeSet::new();
    for service in files().iter().flat_map(|file| file.service.clone()) {
        assert!(service.name().ends_with("Service"), "{}", service.name());
        for method in &service.method {
            let wanted = |suffix| format!(".tributary.v1.{}{suffix}", method.name());
            assert!(is_pascal_case(method.name()), "{}", method.name());
            assert_eq!(method.input_type(), wanted("Request"), "{}", service.name());
            assert_eq!(
                method.output_type(),
                wanted("Response"),
                "{}",
                service.name()
            );
            assert!(
                seen.insert(method.input_type().to_owned()),
                "{} twice",
                method.input_type()
            );
            assert!(
                seen.insert(method.output_type().to_owned()),
                "{} twice",
                method.output_type()
            );
        }
    }
    assert!(!seen.is_empty());
}

#[test]
fn enums_begin_unspecified_and_their_values_carry_their_name() {
    let mut count = 0;
    for list in files().iter().flat_map(|file| file.enum_type.clone()) {
        let prefix = upper_snake_case(list.name());
        assert!(is_pascal_case(list.name()), "{}", list.name());
        for (index, value) in numbered(&list.value) {
            assert!(
                value.name().starts_with(&format!("{prefix}_")),
                "{}",
                value.name()
            );
            let is_zero = value.name() == format!("{prefix}_UNSPECIFIED");
            assert_eq!(
                is_zero,
                index == 0 && value.number() == 0,
                "{}",
                value.name()
            );
        }
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn messages_are_pascal_case_and_fields_lower_snake_case() {
    for file in files() {
        for message in &file.message_type {
            assert!(is_pascal_case(message.name()), "{}", message.name());
        }
        for name in all_fields(&file.message_type) {
            assert!(is_lower_snake_case(&name), "{name}");
        }
    }
}
