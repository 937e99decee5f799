//! Which methods are idempotent.

use std::sync::Arc;

/// A condition on the path of a call, `/package.Service/Method`.
#[derive(Clone, Default)]
pub(in crate::channel) enum Methods {
    #[default]
    None,
    /// Methods, and services with a slash at the end.
    Listed(Vec<String>),
    If(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}

impl Methods {
    pub(super) fn contains(&self, path: &str) -> bool {
        match self {
            Self::None => false,
            Self::Listed(list) => list.iter().any(|it| {
                let service = it.ends_with('/') && path.starts_with(it.as_str());
                service || path == it
            }),
            Self::If(condition) => condition(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_and_whole_services_can_be_listed() {
        let list = ["/a.One/Get", "/a.Two/"].map(str::to_owned);
        let methods = Methods::Listed(list.into());
        let contained = |path| methods.contains(path);
        assert!(contained("/a.One/Get") && contained("/a.Two/Any"));
        assert!(!contained("/a.One/GetAll") && !contained("/a.Twos/Any"));
        assert!(!Methods::default().contains("/a.One/Get"));
        let get = Methods::If(Arc::new(|path| path.ends_with("/Get")));
        assert!(get.contains("/a.Two/Get") && !get.contains("/a.Two/Set"));
    }
}
