//! One holder at a time.

use std::time::Duration;

use cluster::{Lease, LeaseOptions};

use crate::{namespace, test};

const QUICK: LeaseOptions = LeaseOptions {
    duration: Duration::from_secs(2),
    give_up: Duration::from_millis(1500),
    every: Duration::from_millis(100),
};

#[test]
fn it_goes_from_one_holder_to_the_next() {
    test(async |cluster| {
        let ns = namespace(&cluster).await;
        let hold = async |who: &str| Lease::hold_with(&cluster, &ns, "worker", who, QUICK).await.unwrap();
        let first = hold("one").await;
        let waiting = tokio::time::timeout(Duration::from_secs(3), hold("two")).await;
        assert!(waiting.is_err() && !first.is_lost(), "a Lease that is renewed is not taken");
        first.release().await.unwrap();
        let second = tokio::time::timeout(Duration::from_secs(1), hold("two")).await.expect("released");

        // The same identity again, as after a crash: at once, and the earlier run notices.
        let again = tokio::time::timeout(Duration::from_secs(1), hold("two")).await.expect("our own");
        tokio::time::timeout(Duration::from_secs(2), second.lost()).await.expect("taken over");
        assert!(!again.is_lost());

        // Nobody renews it any more: it is taken after its time.
        drop(again);
        let third = tokio::time::timeout(Duration::from_secs(10), hold("three")).await.expect("expired");
        assert!(!third.is_lost());
    });
}
