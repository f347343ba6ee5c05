//! `/_double/…`: what the library offers, for whoever runs the double as a program.
//!
//! | call | does |
//! |---|---|
//! | `GET violations` | what was not as GitHub describes it |
//! | `GET deliveries` | every webhook sent, with times in microseconds |
//! | `GET calls` | every REST call answered |
//! | `GET`, `PUT`, `DELETE faults` | what is to go wrong |
//! | `POST repositories` | `{"owner", "name", "seed": folder}` |

use std::path::PathBuf;
use std::sync::Arc;

use actix_web::HttpResponse;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::core::Core;
use crate::double::{self, DoubleError};
use crate::faults::Faults;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRepository {
    owner: String,
    name: String,
    #[serde(default)]
    seed: Option<PathBuf>,
}

pub(crate) async fn serve(core: &Arc<Core>, method: &str, path: &str, body: &[u8]) -> HttpResponse {
    match (method, path) {
        ("GET", "violations") => show(&core.state().violations),
        ("GET", "deliveries") => show(&core.state().deliveries),
        ("GET", "calls") => show(&core.state().calls),
        ("GET", "faults") => show(&core.state().faults),
        ("PUT", "faults") => match serde_json::from_slice::<Faults>(body) {
            Ok(faults) => done(double::set_faults(core, faults).await),
            Err(error) => refuse(&error.to_string()),
        },
        ("DELETE", "faults") => done(double::set_faults(core, Faults::default()).await),
        ("POST", "repositories") => match serde_json::from_slice::<NewRepository>(body) {
            Ok(new) => done(double::create_repository(core, &new.owner, &new.name, new.seed.as_deref()).await),
            Err(error) => refuse(&error.to_string()),
        },
        _ => HttpResponse::NotFound().json(json!({"error": "see the documentation of github-double's `control`"})),
    }
}

fn show(value: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().json(value)
}

fn done(result: Result<(), DoubleError>) -> HttpResponse {
    match result {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(error) => refuse(&error.to_string()),
    }
}

fn refuse(error: &str) -> HttpResponse {
    HttpResponse::BadRequest().json(json!({"error": error}))
}
