use wire::{Check, CheckState, Deployment, DeploymentState, Repository};

use super::*;

const S: Duration = Duration::from_secs(1);

fn feedback(commit: &str, context: &str, state: CheckState, created: i64) -> Feedback {
    let check = Check { context: context.into(), state: state.into(), ..Default::default() };
    Feedback {
        repository: Some(Repository { owner: "acme".into(), name: "x".into(), ..Default::default() }),
        commit: commit.into(),
        content: Some(Content::Check(check)),
        created_at_unix_us: created,
        ..Default::default()
    }
}

fn queue() -> Queue<u32> {
    Queue::new(&Limits::unlimited(), Policy::default())
}

fn next(queue: &mut Queue<u32>, now: Duration) -> Option<Job<u32>> {
    match queue.next(now) {
        Next::Post(job) => Some(job),
        Next::At(_) | Next::Idle => None,
    }
}

fn wake(queue: &mut Queue<u32>, now: Duration) -> Option<Duration> {
    match queue.next(now) {
        Next::At(time) => Some(time),
        Next::Post(_) => panic!("something is ready"),
        Next::Idle => None,
    }
}

use CheckState::{Failure, Pending, Success};

#[test]
fn of_what_waits_only_the_newest_is_posted() {
    let mut queue = queue();
    assert_eq!(queue.offer(feedback("1", "a", Pending, 1), 1), None);
    assert_eq!(queue.offer(feedback("1", "a", Success, 2), 2), Some(1));
    assert_eq!(queue.offer(feedback("1", "a", Pending, 3), 3), Some(3), "a pending state after a final one");
    assert_eq!(queue.offer(feedback("1", "a", Failure, 4), 4), Some(2));
    assert_eq!(queue.offer(feedback("1", "a", Success, 1), 5), Some(5), "an older one");
    assert_eq!(queue.waiting(), 1);
    let job = next(&mut queue, S).unwrap();
    assert_eq!(job.handle, 4);
    assert_eq!(queue.posted(job), (4, None));
    assert!(matches!(queue.next(S), Next::Idle));
}

#[test]
fn after_a_final_state_only_final_ones_follow() {
    let mut queue = queue();
    queue.offer(feedback("1", "a", Success, 2), 1);
    let job = next(&mut queue, S).unwrap();
    assert_eq!(queue.offer(feedback("1", "a", Pending, 3), 2), None, "it waits: the final one may fail");
    assert_eq!(queue.posted(job), (1, Some(2)));
    assert_eq!(queue.offer(feedback("1", "a", Pending, 9), 3), Some(3));
    assert_eq!(queue.offer(feedback("1", "a", Success, 2), 4), Some(4), "the same, delivered again");
    assert_eq!(queue.offer(feedback("1", "a", Failure, 9), 5), None);
    assert_eq!(queue.offer(feedback("2", "a", Pending, 1), 6), None, "another commit");
    assert_eq!(queue.offer(feedback("1", "b", Pending, 1), 7), None, "another context");
}

#[test]
fn one_call_at_a_time_for_a_lane_and_final_states_first() {
    let mut queue = queue();
    queue.offer(feedback("1", "a", Pending, 1), 1);
    queue.offer(feedback("1", "b", Pending, 1), 2);
    queue.offer(feedback("1", "c", Success, 1), 3);
    let jobs: Vec<_> = std::iter::from_fn(|| next(&mut queue, S)).collect();
    assert_eq!(jobs.iter().map(|job| job.handle).collect::<Vec<_>>(), [3, 1, 2]);
    queue.offer(feedback("1", "a", Success, 2), 4);
    assert!(next(&mut queue, S).is_none(), "lane a is busy");
    assert_eq!(queue.waiting(), 1);
    for job in jobs {
        queue.posted(job);
    }
    assert_eq!(next(&mut queue, S).unwrap().handle, 4);
}

#[test]
fn a_failed_call_waits_longer_each_time_and_alone() {
    let mut queue = queue();
    let error = FeedbackError::Transient { retry_after: None, message: "502".into() };
    queue.offer(feedback("1", "a", Success, 1), 1);
    let mut now = Duration::ZERO;
    for wait in [1, 2, 4, 8] {
        let job = next(&mut queue, now).unwrap();
        assert_eq!(queue.failed(job, &error, now, 0.0), Ok(None));
        assert_eq!(wake(&mut queue, now), Some(now + wait * S));
        now += wait * S;
    }
    queue.offer(feedback("1", "b", Pending, 1), 2);
    let job = next(&mut queue, now - S).unwrap();
    assert_eq!(job.handle, 2, "others do not wait");
    assert_eq!(queue.posted(job).0, 2);
    // A newer one takes the place of the one that waits, and its wait.
    assert_eq!(queue.offer(feedback("1", "a", Failure, 2), 3), Some(1));
    assert!(next(&mut queue, now - S).is_none());
    let job = next(&mut queue, now).unwrap();
    assert_eq!(job.handle, 3);
    let late = now + Duration::from_secs(25 * 3600);
    assert_eq!(queue.failed(job, &error, late, 0.0).unwrap_err().0, 3, "patience has an end");
    assert!(matches!(queue.next(late), Next::Idle));
}

#[test]
fn a_call_that_fails_gives_way_to_a_newer_feedback() {
    let error = FeedbackError::Transient { retry_after: None, message: "502".into() };
    for (flying, newer, stays, needless) in
        [(Pending, Success, 2, 1), (Pending, Pending, 2, 1), (Success, Pending, 1, 2)]
    {
        let mut queue = queue();
        queue.offer(feedback("1", "a", flying, 1), 1);
        let job = next(&mut queue, S).unwrap();
        assert_eq!(queue.offer(feedback("1", "a", newer, 2), 2), None);
        assert_eq!(queue.failed(job, &error, S, 0.0), Ok(Some(needless)));
        assert_eq!(next(&mut queue, 3 * S).unwrap().handle, stays);
    }
}

#[test]
fn what_the_forge_refuses() {
    let error = |kind| match kind {
        "permanent" => FeedbackError::Permanent { message: "422".into() },
        "unauthorized" => FeedbackError::Unauthorized { message: "403".into() },
        _ => FeedbackError::NotFound { message: "404".into() },
    };
    for (kind, attempts) in [("permanent", 1), ("unauthorized", 6), ("not found", 6)] {
        let mut queue = queue();
        queue.offer(feedback("1", "a", Success, 1), 1);
        let mut now = Duration::ZERO;
        let mut tried = 0;
        loop {
            now += 400 * S;
            let job = next(&mut queue, now).unwrap();
            tried += 1;
            if let Err((handle, reason)) = queue.failed(job, &error(kind), now, 1.0) {
                assert!(handle == 1 && reason.contains('4'), "{reason}");
                break;
            }
        }
        assert_eq!(tried, attempts, "{kind}");
        assert_eq!(queue.offer(feedback("1", "a", Pending, 2), 2), None, "the lane is free again");
        assert_eq!(next(&mut queue, now).unwrap().handle, 2);
    }
}

#[test]
fn a_limited_account_is_left_alone() {
    let mut queue = queue();
    queue.offer(feedback("1", "a", Success, 1), 1);
    queue.offer(feedback("1", "b", Success, 1), 2);
    let limited = |retry_after| FeedbackError::RateLimited { retry_after, message: "403".into() };
    let job = next(&mut queue, S).unwrap();
    assert_eq!(queue.failed(job, &limited(Some(30 * S)), S, 0.0), Ok(None));
    assert_eq!(wake(&mut queue, S), Some(31 * S), "nothing else is posted either");
    for (now, then) in [(31, 91), (91, 211), (211, 451), (451, 751)] {
        let job = next(&mut queue, now * S).unwrap();
        assert_eq!(queue.failed(job, &limited(None), now * S, 0.0), Ok(None));
        assert_eq!(wake(&mut queue, now * S), Some(then * S), "each time for longer");
    }
    let job = next(&mut queue, 751 * S).unwrap();
    queue.posted(job);
    assert!(next(&mut queue, 751 * S).is_some());
}

#[test]
fn final_states_keep_their_share_of_the_limit() {
    let windows = vec![crate::outbox::Window { writes: 4, span: 60 * S }];
    let mut queue = Queue::new(&Limits { windows, pending_share: 0.5, concurrency: 8 }, Policy::default());
    for n in 0..5 {
        queue.offer(feedback("1", &n.to_string(), Pending, 1), n);
    }
    let posted: Vec<_> = std::iter::from_fn(|| next(&mut queue, S)).map(|job| job.handle).collect();
    assert_eq!(posted, [0, 1]);
    // Waiting pending states become final ones, which costs nothing more.
    assert_eq!(queue.offer(feedback("1", "3", Success, 2), 13), Some(3));
    assert_eq!(next(&mut queue, S).unwrap().handle, 13);
    assert_eq!(wake(&mut queue, S), Some(61 * S));
}

#[test]
fn a_deployment_can_be_taken_down_after_it_succeeded() {
    let mut queue = queue();
    let deployment = |state: DeploymentState, created| Feedback {
        content: Some(Content::Deployment(Deployment {
            environment: "a".into(),
            state: state.into(),
            ..Default::default()
        })),
        ..feedback("1", "", Pending, created)
    };
    queue.offer(deployment(DeploymentState::Success, 1), 1);
    let job = next(&mut queue, S).unwrap();
    queue.posted(job);
    assert_eq!(queue.offer(deployment(DeploymentState::InProgress, 2), 2), Some(2));
    assert_eq!(queue.offer(deployment(DeploymentState::Inactive, 3), 3), None);
    assert_eq!(queue.offer(feedback("1", "a", Pending, 1), 4), None, "a check of that name is another lane");
}
