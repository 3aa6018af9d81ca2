//! The session core from outside: what a desktop says and what it is told, with
//! a scripted model, a paused clock and no network.

mod context;
mod deadlines;
mod decisions;
mod devices;
mod drain;
mod ending;
mod fallback;
mod faults;
mod frames;
mod giving_up;
mod greeting;
mod jobs;
mod leaving;
mod logs;
mod quota;
mod races;
mod repeats;
mod resume;
mod searches;
mod support;
mod tool_results;
mod withheld;
