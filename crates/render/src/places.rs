//! Places for work that takes the machine: so many at a time, shared out by project, so that one cannot use up the others'.
//!
//! Each project that waits gets its turn, one after the other. While others wait, a project may have all places but one. A
//! project that has nothing running does not wait for one that took every place while it was alone: it gets one more.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::RenderError;
use crate::cache::lock;

/// Who may begin, without any waiting: numbers stand for those who wait.
#[derive(Debug)]
struct Line {
    places: usize,
    running: HashMap<String, usize>,
    waiting: HashMap<String, VecDeque<u64>>,
    /// The projects that wait, the next one first.
    turns: VecDeque<String>,
}

impl Line {
    fn new(places: usize) -> Self {
        Self { places: places.max(1), running: HashMap::new(), waiting: HashMap::new(), turns: VecDeque::new() }
    }

    fn enter(&mut self, project: &str, number: u64) {
        let queue = self.waiting.entry(project.to_owned()).or_default();
        if queue.is_empty() {
            self.turns.push_back(project.to_owned());
        }
        queue.push_back(number);
    }

    /// One that waited has given up.
    fn leave(&mut self, project: &str, number: u64) {
        if let Some(queue) = self.waiting.get_mut(project) {
            queue.retain(|waiting| *waiting != number);
            if queue.is_empty() {
                self.waiting.remove(project);
                self.turns.retain(|turn| turn != project);
            }
        }
    }

    /// One that ran has ended.
    fn ended(&mut self, project: &str) {
        if let Some(count) = self.running.get_mut(project) {
            *count -= 1;
            if *count == 0 {
                self.running.remove(project);
            }
        }
    }

    /// The next one that may begin now, which from then on runs.
    fn next(&mut self) -> Option<u64> {
        let place = self.turns.iter().position(|project| self.may_begin(project))?;
        let project = self.turns.remove(place)?;
        let queue = self.waiting.get_mut(&project)?;
        let number = queue.pop_front()?;
        if queue.is_empty() {
            self.waiting.remove(&project);
        } else {
            self.turns.push_back(project.clone());
        }
        *self.running.entry(project).or_default() += 1;
        Some(number)
    }

    fn may_begin(&self, project: &str) -> bool {
        let own = self.running.get(project).copied().unwrap_or(0);
        let taken = self.taken();
        if taken >= self.places {
            return own == 0 && taken == self.places && self.running.len() == 1;
        }
        let alone = self.turns.len() == 1;
        alone || own == 0 || own + 1 < self.places
    }

    fn taken(&self) -> usize {
        self.running.values().sum()
    }
}

/// Places that are waited for.
#[derive(Debug)]
pub(crate) struct Places {
    state: Mutex<State>,
    longest_wait: Duration,
}

#[derive(Debug)]
struct State {
    line: Line,
    waiting: HashMap<u64, (Instant, oneshot::Sender<()>)>,
    numbers: u64,
}

impl State {
    fn let_in(&mut self) {
        while let Some(number) = self.line.next() {
            if let Some((_, waiting)) = self.waiting.remove(&number) {
                // One that has just given up gives its place back itself.
                let _ = waiting.send(());
            }
        }
    }
}

/// How it stands with the places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Renders that have a place.
    pub running: usize,
    /// Renders that wait for one.
    pub waiting: usize,
    /// How long the one has waited that waits longest.
    pub longest_wait: Duration,
}

impl Places {
    pub(crate) fn new(places: usize, longest_wait: Duration) -> Arc<Self> {
        let state = State { line: Line::new(places), waiting: HashMap::new(), numbers: 0 };
        Arc::new(Self { state: Mutex::new(state), longest_wait })
    }

    /// Waits for a place, for a project.
    pub(crate) async fn take(self: &Arc<Self>, project: &str) -> Result<Place, RenderError> {
        let (sender, receiver) = oneshot::channel();
        let number = {
            let mut state = lock(&self.state);
            state.numbers += 1;
            let number = state.numbers;
            state.line.enter(project, number);
            state.waiting.insert(number, (Instant::now(), sender));
            state.let_in();
            number
        };
        // From here on it is given back, whether it was had or only waited for.
        let place = Place { places: Arc::clone(self), project: project.to_owned(), number };
        match tokio::time::timeout(self.longest_wait, receiver).await {
            Ok(Ok(())) => Ok(place),
            _ => Err(RenderError::Limit {
                what: "the wait for a free place to render".into(),
                limit: format!("{:?}", self.longest_wait),
                setting: "renders",
            }),
        }
    }

    pub(crate) fn load(&self) -> Load {
        let state = lock(&self.state);
        let since = state.waiting.values().map(|(since, _)| *since).min();
        Load {
            running: state.line.taken(),
            waiting: state.waiting.len(),
            longest_wait: since.map(|since| since.elapsed()).unwrap_or_default(),
        }
    }
}

/// A place, or the wait for one.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    project: String,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = lock(&self.places.state);
        if state.waiting.remove(&self.number).is_some() {
            state.line.leave(&self.project, self.number);
        } else {
            state.line.ended(&self.project);
        }
        state.let_in();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    /// `a+` waits, `a-` ends; the letters of those who may begin come after each.
    fn play(places: usize, moves: &str) -> String {
        let mut line = Line::new(places);
        let mut owners = HashMap::new();
        let mut played = Vec::new();
        for (number, step) in (0_u64..).zip(moves.split_whitespace()) {
            let (project, what) = step.split_at(1);
            match what {
                "+" => {
                    owners.insert(number, project.to_owned());
                    line.enter(project, number);
                }
                _ => line.ended(project),
            }
            let mut begun = String::new();
            while let Some(number) = line.next() {
                begun.push_str(&owners[&number]);
            }
            played.push(if begun.is_empty() { ".".to_owned() } else { begun });
        }
        played.join(" ")
    }

    #[test]
    fn places_are_shared_out_by_project() {
        for (places, moves, begun, why) in [
            (2, "a+ a+ a+ a-", "a a . a", "a project that is alone has all places"),
            (2, "a+ a+ a+ b+ b+ a- b-", "a a . b . . b", "another one gets one more at once, and keeps one place"),
            (2, "a+ b+ a+ b+ c+ a- b-", "a b . . . a b", "whoever began to wait first is first"),
            (2, "a+ a+ b+ c+ a- a-", "a a b . . c", "one guest and no more"),
            (1, "a+ a+ b+ a- b-", "a . b a .", "with one place, too"),
            (3, "a+ a+ a+ a+ a+ b+ b+ a- a- b-", "a a a . . b . . a b", "two of three while others wait"),
            (4, "a+ b+ c+ d+ e+ f+ a- b-", "a b c d . . e f", "many projects"),
            (2, "a+ a+ a+ a+ a+ b+ a- b- b+ a-", "a a . . . b . a b .", "a guest that has gone comes back as one"),
        ] {
            assert_eq!(play(places, moves), begun, "{why}: {moves}");
        }
    }

    #[test]
    fn nobody_waits_for_ever() {
        // Whatever one project asks for, another's n-th wait is over after as many ends as there are projects and places.
        let mut line = Line::new(2);
        (0..1000).for_each(|number| line.enter("greedy", number));
        while line.next().is_some() {}
        line.enter("modest", 2000);
        assert_eq!(line.next(), Some(2000));
        line.enter("late", 3000);
        let mut ends = 0;
        loop {
            line.ended("greedy");
            ends += 1;
            let begun: Vec<u64> = std::iter::from_fn(|| line.next()).collect();
            if begun.contains(&3000) {
                break;
            }
            assert!(ends < 4, "late waits for {ends} ends");
        }
    }

    #[tokio::test]
    async fn what_is_given_up_is_free_again() {
        let places = Places::new(1, Duration::from_secs(60));
        let first = places.take("a").await.unwrap();
        let second = places.take("a");
        let mut second = Box::pin(second);
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!((places.load().running, places.load().waiting), (1, 1));
        drop(second);
        assert_eq!((places.load().running, places.load().waiting), (1, 0));
        // Given to one that gives up before it has looked.
        let mut third = Box::pin(places.take("a"));
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        assert_eq!(places.load().running, 1);
        drop(third);
        assert_eq!(places.load(), Load::default());
        assert!(places.take("b").now_or_never().unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_has_its_limit() {
        let places = Places::new(1, Duration::from_secs(600));
        let kept = places.take("a").await.unwrap();
        let error = places.take("a").await.unwrap_err();
        assert!(error.is_transient() && error.to_string().contains("600s") && error.to_string().contains("`renders`"));
        assert_eq!(places.load().waiting, 0);
        drop(kept);
    }
}
