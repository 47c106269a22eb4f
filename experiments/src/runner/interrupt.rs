//! Asking a long run to end early, in good order.

use tokio::sync::watch;

/// Says that a run is to end early.
#[derive(Debug)]
pub struct Interrupter(watch::Sender<bool>);

/// Hears whether a run is to end early. Cloning hears the same.
#[derive(Clone, Debug)]
pub struct Interrupt(watch::Receiver<bool>);

impl Interrupter {
    /// Asks whoever holds the [`Interrupt`] to end. Doing it twice is fine.
    pub fn interrupt(&self) {
        self.0.send_replace(true);
    }
}

impl Interrupt {
    /// Both ends.
    pub fn pair() -> (Interrupter, Self) {
        let (sender, receiver) = watch::channel(false);
        (Interrupter(sender), Self(receiver))
    }

    /// One that never comes.
    pub fn never() -> Self {
        Self::pair().1
    }

    /// Whether it has come.
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it comes.
    pub async fn wait(&self) {
        let mut heard = self.0.clone();
        if heard.wait_for(|is_set| *is_set).await.is_err() {
            // nobody is left who could ask
            std::future::pending::<()>().await;
        }
    }
}
