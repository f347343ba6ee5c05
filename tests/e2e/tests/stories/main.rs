//! Stories from end to end, on real parts. One binary, so that it is linked once; run two at a time
//! (`--test-threads=2`): each story has a control plane or two of its own.
#![allow(clippy::unwrap_used)]

mod attacks;
mod attacks_forks;
mod attacks_identity;
mod attacks_receiver;
mod cli;
mod drift;
mod example;
mod fencing;
mod github;
mod nulls;
mod objects;
mod operations;
mod options;
mod outages;
mod projects;
mod pulls;
mod push;
mod refused;
mod renders;
mod sets;
mod storm;
mod sync;
mod together;
mod webhooks;
