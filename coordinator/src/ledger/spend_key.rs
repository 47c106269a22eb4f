//! Where the spend of a device in an account is kept.

use tributary_proto::DeviceId;

use super::charge::{AccountKey, ChargeKind};
use tributary_store::key::{Key, KeyReader};

/// Ids hold no zero byte, so that no device's own key is one of these.
pub(super) fn spend_key((account, kind): &AccountKey, device: &DeviceId) -> Key {
    let key = Key::new().text(account).text(kind.name());
    key.text(device.as_str())
}

/// What a key of [`spend_key`] stands for; nothing if it is a device's own.
pub(super) fn account_of(key: &[u8]) -> Option<(AccountKey, DeviceId)> {
    let mut reader = KeyReader::new(key);
    let (account, kind, device) = (reader.text()?, reader.text()?, reader.text()?);
    let kind = ChargeKind::ALL
        .into_iter()
        .find(|known| known.name() == kind)?;
    let device = DeviceId::try_from(device).ok()?;
    reader.is_at_end().then_some(((account, kind), device))
}
