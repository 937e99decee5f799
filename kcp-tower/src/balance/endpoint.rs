//! Descriptions of endpoints, as discovery supplies them.

use http::Uri;

use super::EndpointError;

/// One server of a set: where it is, and how much it should be used.
///
/// ```
/// use kcp_tower::balance::Endpoint;
///
/// let endpoint = Endpoint::parse("kcp://10.0.0.7:4000")?.weight(3).zone("eu-1");
/// # Ok::<_, kcp_tower::balance::EndpointError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    uri: Uri,
    weight: u32,
    zone: Option<Box<str>>,
    priority: u32,
    active: bool,
}

impl Endpoint {
    /// An active endpoint of weight 1 and priority 0 without a zone.
    #[must_use]
    pub fn new(uri: Uri) -> Self {
        Self {
            uri,
            weight: 1,
            zone: None,
            priority: 0,
            active: true,
        }
    }

    /// As [`Endpoint::new`], from the text of a URI and of options, such as
    /// `kcp://10.0.0.7:4000 weight=3 zone=eu-1 priority=1 inactive`.
    ///
    /// # Errors
    ///
    /// The text does not have this form. Whether a connection can be made to the URI is checked when
    /// the endpoint joins a set.
    pub fn parse(text: impl AsRef<str>) -> Result<Self, EndpointError> {
        text.as_ref().parse()
    }

    /// Its share of the requests relative to other endpoints, for the selections that use weights.
    /// Default 1. An endpoint of weight 0 gets no new requests, whatever the selection.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// The zone it is in, for [`Selection::NearestZone`](super::Selection::NearestZone). Default: none.
    #[must_use]
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.zone = Some(zone.into().into_boxed_str());
        self
    }

    /// Its rank. Endpoints of priority 1 get requests only when none of priority 0 is usable, and so
    /// on, as in DNS SRV records. Default 0.
    #[must_use]
    pub fn priority(mut self, priority: u32) -> Self {
        self.priority = priority;
        self
    }

    /// Whether it gets new requests. Default true. An inactive endpoint stays connected, and its
    /// requests in flight continue.
    #[must_use]
    pub fn active(mut self, active: bool) -> Self {
        self.active = active;
        self
    }

    /// Where it is.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// See [`Endpoint::weight`].
    #[must_use]
    pub fn get_weight(&self) -> u32 {
        self.weight
    }

    /// See [`Endpoint::zone`].
    #[must_use]
    pub fn get_zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }

    /// See [`Endpoint::priority`].
    #[must_use]
    pub fn get_priority(&self) -> u32 {
        self.priority
    }

    /// See [`Endpoint::active`].
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// Whether discovery permits new requests.
    pub(super) fn takes_requests(&self) -> bool {
        self.active && self.weight > 0
    }

    /// Host and port, for messages and for hashing.
    pub(super) fn address(&self) -> String {
        match self.uri.authority() {
            Some(authority) => authority.to_string(),
            None => self.uri.to_string(),
        }
    }
}

impl From<Uri> for Endpoint {
    fn from(uri: Uri) -> Self {
        Self::new(uri)
    }
}

impl TryFrom<&str> for Endpoint {
    type Error = EndpointError;

    fn try_from(uri: &str) -> Result<Self, Self::Error> {
        Self::parse(uri)
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;

    fn try_from(uri: String) -> Result<Self, Self::Error> {
        Self::parse(uri)
    }
}
