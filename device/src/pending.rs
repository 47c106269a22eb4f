//! Stands in for the integer runtime until `tributary-model` exports it.
#![allow(missing_docs)]
#[derive(Debug)]
pub struct Int8Model;
#[derive(Debug, Default)]
pub struct Int8Scratch;
#[derive(Debug, thiserror::Error)]
#[error("this program can't run builds yet")]
pub struct BundleError;
impl Int8Model {
    pub fn from_bytes(_: &[u8]) -> Result<Self, BundleError> {
        Err(BundleError)
    }
    pub fn verify_self_test(&self, _: &mut Int8Scratch) -> Result<(), BundleError> {
        Err(BundleError)
    }
}
pub fn fits(_: &Int8Model, _: usize, _: usize) -> Result<(), BundleError> {
    Err(BundleError)
}
