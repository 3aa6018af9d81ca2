//! What a desktop of ordinary size has to say.

use axum::body::Bytes;
use proactive::transport::proto::{
    ActiveTask, Goal, HistoricalTask, MatchType, SearchResult, SearchResults, SessionContext,
    TaskStatus,
};

/// So many kilobytes (of 1,000 bytes) that begin and end as a JPEG does.
pub(crate) fn jpeg(kilobytes: usize) -> Bytes {
    let mut bytes: Vec<u8> = (0..kilobytes * 1000)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let end = bytes.len() - 2;
    bytes[..4].copy_from_slice(&[0xFF, 0xD8, 0xFF, 0xE0]);
    bytes[end..].copy_from_slice(&[0xFF, 0xD9]);
    bytes.into()
}

/// 2 KB of a screen with a mail on it.
pub(crate) fn ocr() -> String {
    const LINE: &str = "From: Maria Keller\nHi, can you send the Berlin office the \"signed lease\" \
                        before Tuesday? Thanks — Maria\n";
    let mut text = LINE.repeat(2048 / LINE.len());
    text.push_str(&"Inbox 14".repeat(2));
    text
}

/// A user's tasks.
pub(crate) fn context() -> SessionContext {
    let active = |id: i64| ActiveTask {
        task_id: id,
        description: format!("Prepare the quarterly numbers for the team in Hamburg, part {id}"),
        priority: "medium".to_owned(),
        relevance_score: id as i32,
        staged: false,
    };
    let past = |id: i64| HistoricalTask {
        task_id: id,
        description: format!("Book the room for the review with Jonas, week {id}"),
    };
    SessionContext {
        active_tasks: (1..=10).map(active).collect(),
        completed_tasks: (11..=15).map(past).collect(),
        deleted_tasks: (16..=18).map(past).collect(),
        goals: vec![Goal {
            goal_id: "g1".to_owned(),
            title: "Open the Berlin office".to_owned(),
            description: "By spring, with six people".to_owned(),
        }],
        generated_at: None,
    }
}

/// What a search finds.
pub(crate) fn hits() -> SearchResults {
    let hit = |task_id: i64| SearchResult {
        task_id,
        description: format!(
            "Prepare the quarterly numbers for the team in Hamburg, part {task_id}"
        ),
        status: TaskStatus::Active.into(),
        similarity: 0.31,
        match_type: MatchType::Vector.into(),
        relevance_score: task_id as i32,
    };
    SearchResults {
        items: (1..=3).map(hit).collect(),
    }
}
