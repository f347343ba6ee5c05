//! Work in lanes: what enters the same lane is handled one after the other, in the order in which it came; different lanes go side
//! by side. A lane that has nothing left to do is gone, so names that somebody made up cost nothing once they are handled.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use crate::context::locked;

/// See the module's documentation.
#[derive(Debug)]
pub struct Lanes<T> {
    waiting: Mutex<HashMap<String, VecDeque<T>>>,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self { waiting: Mutex::default() }
    }
}

impl<T> Lanes<T> {
    /// Takes up work. Returned, it is the lane's first, and whoever gets it handles it now and then asks [`next`](Self::next) until
    /// that says no; kept, somebody is at work in the lane and comes to it.
    pub fn enter(&self, lane: &str, work: T) -> Option<T> {
        let mut waiting = locked(&self.waiting);
        match waiting.get_mut(lane) {
            Some(queue) => {
                queue.push_back(work);
                None
            }
            None => {
                waiting.insert(lane.to_owned(), VecDeque::new());
                Some(work)
            }
        }
    }

    /// The lane's next work. `None`: there is none left, and the lane is gone.
    pub fn next(&self, lane: &str) -> Option<T> {
        let mut waiting = locked(&self.waiting);
        let next = waiting.get_mut(lane)?.pop_front();
        if next.is_none() {
            waiting.remove(lane);
        }
        next
    }

    /// Gives up a lane with everything that waits in it.
    pub fn abandon(&self, lane: &str) -> Vec<T> {
        locked(&self.waiting).remove(lane).unwrap_or_default().into()
    }

    /// How many lanes somebody is at work in.
    pub fn count(&self) -> usize {
        locked(&self.waiting).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_keeps_its_order_and_goes_with_its_last_work() {
        let lanes = Lanes::default();
        assert_eq!(lanes.enter("shop", 1), Some(1));
        assert_eq!(lanes.enter("shop", 2), None);
        assert_eq!(lanes.enter("bank", 3), Some(3));
        assert_eq!(lanes.enter("shop", 4), None);
        assert_eq!((lanes.next("shop"), lanes.next("shop"), lanes.next("shop")), (Some(2), Some(4), None));
        assert_eq!(lanes.count(), 1);
        assert_eq!(lanes.enter("shop", 5), Some(5));
    }

    #[test]
    fn made_up_names_leave_nothing_behind() {
        let lanes = Lanes::default();
        for number in 0..20_000 {
            let lane = format!("nobody/{number}");
            assert!(lanes.enter(&lane, ()).is_some() && lanes.next(&lane).is_none());
        }
        assert_eq!(lanes.count(), 0);
    }

    #[test]
    fn an_abandoned_lane_gives_back_what_waits() {
        let lanes = Lanes::default();
        lanes.enter("shop", 1);
        lanes.enter("shop", 2);
        assert_eq!(lanes.abandon("shop"), [2]);
        assert_eq!(lanes.enter("shop", 3), Some(3));
    }
}
