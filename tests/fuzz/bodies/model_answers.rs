//! The model's HTTP answers into an analysis: each piece is the body of a 200, or
//! of another status if its first line is that number.

use std::time::Duration;

use futures::{StreamExt, stream};
use proactive::domain::{Frame, FrameId, Hit, MatchType, ScreenText, TaskStatus};
use proactive::gemini::Turn;
use proactive::session::{ClientMessage, Hello, Input, ServerMessage, Version};
use proactive::telemetry::SessionEnd;
use proactive::tools::Output;

use super::house::play;
use super::pieces;

/// As many as a frame has turns.
const TURNS: usize = 5;

pub(crate) fn run(data: &[u8]) {
    let says = pieces(data, TURNS).into_iter().map(|piece| {
        let (status, body) = response(piece);
        Turn::of_response(status, body)
    });
    let (end, told) = play(says.collect(), |told| {
        let opening = [hello(), frame()].map(Input::Message);
        // Searches are answered, well or badly, and the desk leaves after the answer.
        let answers = told.filter_map(|message| async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            match message {
                ServerMessage::ToolCall(search) => {
                    let answer = match search.query().len() % 5 {
                        0 => Err("index ⟦broken⟧".to_owned()),
                        1 => Ok(vec![]),
                        _ => Ok(vec![hit(); 3]),
                    };
                    Some(Some(ClientMessage::ToolResult(
                        search.id,
                        answer.map(Output::Hits),
                    )))
                }
                ServerMessage::Answer(..) => Some(None),
                _ => None,
            }
        });
        let answers = answers
            .take_while(|answer| std::future::ready(answer.is_some()))
            .filter_map(|answer| std::future::ready(answer.map(Input::Message)));
        stream::iter(opening).chain(answers).boxed()
    });
    assert_eq!(end, SessionEnd::Closed);
    let is_answer = |told: &&ServerMessage| matches!(told, ServerMessage::Answer(..));
    assert_eq!(told.iter().filter(is_answer).count(), 1);
}

fn response(piece: &[u8]) -> (u16, &[u8]) {
    let line = piece
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let status = str::from_utf8(line).ok().filter(|line| line.len() == 3);
    match status.and_then(|line| line.parse().ok()) {
        Some(status) => (status, piece.get(4..).unwrap_or_default()),
        None => (200, piece),
    }
}

fn hello() -> ClientMessage {
    ClientMessage::Hello(Hello {
        version: Version::V1_1,
        context_version: "v1".to_owned(),
        context: Some(Box::default()),
        ..Hello::default()
    })
}

fn frame() -> ClientMessage {
    ClientMessage::Frame(Box::new(Frame {
        id: FrameId::new("f"),
        named: true,
        image: None,
        app: "Mail".to_owned(),
        window: "Inbox".to_owned(),
        ocr: ScreenText("Can you send the lease to Berlin?".to_owned()),
        captured_at: None,
        utc_offset: None,
        device: None,
        context: None,
    }))
}

fn hit() -> Hit {
    Hit {
        task_id: 77,
        description: "Send the lease".to_owned(),
        status: Some(TaskStatus::Deleted),
        similarity: 0.91,
        match_type: Some(MatchType::Both),
        score: Some(4),
    }
}
