//! Options of an open connection that change.

use crate::config::Config;
use crate::error::ConfigError;
use crate::net::sync::lock;

use super::Connection;

impl Connection {
    /// The current options.
    pub(in crate::net) fn config(&self) -> Config {
        let inner = lock(&self.inner);
        match &inner.config {
            Some(config) => Config::clone(config),
            None => self.endpoint.config.clone(),
        }
    }

    /// Changes the options, all or none of them.
    pub(in crate::net) fn reconfigure(&self, config: &Config) -> Result<(), ConfigError> {
        let now = self.endpoint.clock.now();
        let config = Box::new(config.clone());
        let mut guard = lock(&self.inner);
        let inner = &mut *guard;
        let current = inner.config.as_deref().unwrap_or(&self.endpoint.config);
        inner.session.reconfigure(now, current, &config)?;
        let former = inner.config.replace(config);
        let wakers = inner.take_wakers();
        drop(guard);
        drop(former);
        wakers.wake();
        // Wider windows or other deadlines may make more data due.
        self.transmit();
        Ok(())
    }
}
