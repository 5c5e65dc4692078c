//! The spec layer as its users see it: texts in, a spec or every mistake out.

mod diagnostics;
mod drop_ins;
mod effective;
mod generated;
mod hostile;
mod mutations;
mod specfile;
mod support;
