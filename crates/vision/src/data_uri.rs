//! Pictures as data URIs (RFC 2397), which BI tools and browsers show in a table cell.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::decode::inspect;
use crate::error::{Error, Result};
use crate::limits::{self, Limits};

/// `data:image/…;base64,…` of the bytes as they are, with the media type of the format found in them.
///
/// # Errors
/// As for [`inspect`]: whatever is not recognisably a picture within the limits is refused, so that no script or page
/// ever gets an `image/…` label.
pub fn data_uri(bytes: &[u8], limits: &Limits) -> Result<String> {
    let info = inspect(bytes, limits)?;
    let prefix = format!("data:{};base64,", info.format.mime());
    let encoded = base64::encoded_len(bytes.len(), true).ok_or(Error::OutOfMemory { bytes: usize::MAX })?;
    let mut uri = limits::with_capacity(prefix.len() + encoded)?;
    uri.extend_from_slice(prefix.as_bytes());
    let start = uri.len();
    uri.resize(start + encoded, 0);
    let written = STANDARD.encode_slice(bytes, &mut uri[start..]).map_err(Error::corrupt)?;
    uri.truncate(start + written);
    String::from_utf8(uri).map_err(Error::corrupt)
}
