//! The decisions about tasks: a project with a few tasks, idle sessions, and one deviation at a time.

mod prompts;
