//! github-double
