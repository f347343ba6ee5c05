//! What is started on the way and waited for by nobody: it ends with the term that it belongs to.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Tasks {
    running: TaskTracker,
    ended: CancellationToken,
}

impl Tasks {
    /// Runs a task until it is done, or until the term ends.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let ended = self.ended.clone();
        self.running.spawn(async move {
            tokio::select! {
                biased;
                () = ended.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Stops all of them; returns when none runs any more.
    pub async fn end(&self) {
        self.ended.cancel();
        self.running.close();
        self.running.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_goes_on_after_the_end() {
        let (tasks, (told, ended)) = (Tasks::default(), tokio::sync::oneshot::channel::<()>());
        tasks.spawn(async move {
            let _told = told;
            std::future::pending::<()>().await;
        });
        tasks.end().await;
        assert!(ended.await.is_err(), "it was dropped");
        tasks.spawn(async { panic!("begun after the end") });
        tasks.end().await;
    }
}
