//! placeholder
/// t
pub fn tokenize(caption: &str) -> String {
    caption.to_lowercase()
}
