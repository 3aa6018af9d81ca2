//! Counts the entries of an event's lists before anything is built of it.
//!
//! Two bytes on the wire are an empty task of a hundred bytes in memory, so the
//! size of an event does not bound what it costs. The walk allocates nothing and
//! steps over what is inside a field: of a frame it reads some ten tags, and one
//! more for each entry of its context.

use prost::decode_length_delimiter as varint;

/// The most entries that any one list of an event may have; `proactive.proto`
/// promises it.
pub(in crate::transport) const MAX_ENTRIES: usize = 10_000;

/// Why an event is not built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// A list has more than [`MAX_ENTRIES`].
    Entries,
    /// The bytes are no protobuf message.
    Malformed,
}

/// Where lists are: in which field of what is sent, and in which field of that.
pub(super) type Holders = &'static [(usize, usize)];
/// In a ClientEvent: hello (its context, and twice its tools), frame and tool result.
pub(super) const CLIENT_EVENT: Holders = &[(1, 7), (1, 14), (1, 15), (2, 9), (3, 2)];
/// In a SubmitFrameRequest: its frame.
pub(super) const SUBMIT_FRAME: Holders = &[(1, 9)];
/// The tags of SessionContext's lists; SearchResults has only the first.
const LISTS: usize = 4;

/// Whether the message may be built; `Ok` does not mean that it can be parsed.
/// What is sent in pieces is merged, so all lists of one tag count as one.
///
/// # Errors
/// Why not.
pub(super) fn check(event: &[u8], holders: Holders) -> Result<(), Excess> {
    let mut entries = [0; LISTS + 1];
    for said in Fields(event) {
        let (kind, said) = said?;
        if !holders.iter().any(|(holds, _)| *holds == kind) {
            continue;
        }
        for field in Fields(said) {
            let (tag, lists) = field?;
            if !holders.contains(&(kind, tag)) {
                continue;
            }
            for entry in Fields(lists) {
                let (list, _) = entry?;
                let Some(count) = entries.get_mut(list) else {
                    continue;
                };
                *count += 1;
                if *count > MAX_ENTRIES {
                    return Err(Excess::Entries);
                }
            }
        }
    }
    Ok(())
}

/// The fields of a message: each with its tag and, if it has a length, its
/// content. Not to be asked again after an error.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(usize, &'a [u8]), Excess>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.0.is_empty()).then(|| self.field().ok_or(Excess::Malformed))
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(usize, &'a [u8])> {
        let key = varint(&mut self.0).ok()?;
        let content = match key & 7 {
            0 => {
                varint(&mut self.0).ok()?;
                &[]
            }
            1 => self.skip(8)?,
            2 => {
                let length = varint(&mut self.0).ok()?;
                self.skip(length)?
            }
            // The ends of a group: what is in it counts as if it were not.
            3 | 4 => &[],
            5 => self.skip(4)?,
            _ => return None,
        };
        Some((key >> 3, content))
    }

    fn skip(&mut self, length: usize) -> Option<&'a [u8]> {
        let (content, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(content)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::transport::proto::client_event::Event;
    use crate::transport::proto::{
        ActiveTask, ClientEvent, ClientHello, FrameEvent, Goal, HistoricalTask, SearchResult,
        SearchResults, SessionContext, ToolResult,
    };

    fn event(event: Event) -> Vec<u8> {
        ClientEvent { event: Some(event) }.encode_to_vec()
    }

    fn hello(session_context: SessionContext) -> Vec<u8> {
        event(Event::ClientHello(ClientHello {
            session_context: Some(session_context),
            ..ClientHello::default()
        }))
    }

    #[test]
    fn every_list_of_an_event_may_have_ten_thousand_entries_and_no_more() {
        let lists: [fn(usize) -> Vec<u8>; 6] = [
            |n| {
                hello(SessionContext {
                    active_tasks: vec![ActiveTask::default(); n],
                    ..SessionContext::default()
                })
            },
            |n| {
                hello(SessionContext {
                    completed_tasks: vec![HistoricalTask::default(); n],
                    ..SessionContext::default()
                })
            },
            |n| {
                hello(SessionContext {
                    deleted_tasks: vec![HistoricalTask::default(); n],
                    ..SessionContext::default()
                })
            },
            |n| {
                hello(SessionContext {
                    goals: vec![Goal::default(); n],
                    ..SessionContext::default()
                })
            },
            |n| {
                let active_tasks = vec![ActiveTask::default(); n];
                event(Event::FrameEvent(FrameEvent {
                    jpeg_bytes: vec![10; 1_000_000].into(),
                    frame_number: -1,
                    session_context: Some(SessionContext {
                        active_tasks,
                        ..SessionContext::default()
                    }),
                    ..FrameEvent::default()
                }))
            },
            |n| {
                let items = vec![SearchResult::default(); n];
                event(Event::ToolResult(ToolResult {
                    result: Some(SearchResults { items }),
                    ..ToolResult::default()
                }))
            },
        ];
        for (at, list) in lists.into_iter().enumerate() {
            assert_eq!(check(&list(MAX_ENTRIES), CLIENT_EVENT), Ok(()), "list {at}");
            assert_eq!(
                check(&list(MAX_ENTRIES + 1), CLIENT_EVENT),
                Err(Excess::Entries)
            );
        }
    }

    #[test]
    fn a_list_in_pieces_is_one_list() {
        let half = SessionContext {
            active_tasks: vec![ActiveTask::default(); MAX_ENTRIES / 2 + 1],
            ..SessionContext::default()
        };
        let half = hello(half);
        assert_eq!(check(&half, CLIENT_EVENT), Ok(()));
        assert_eq!(check(&half.repeat(2), CLIENT_EVENT), Err(Excess::Entries));
    }

    #[test]
    fn what_ends_in_the_middle_is_malformed_wherever_it_is_cut() {
        let whole = hello(SessionContext {
            goals: vec![Goal::default(); 2],
            ..SessionContext::default()
        });
        for length in 1..whole.len() {
            assert_eq!(
                check(&whole[..length], CLIENT_EVENT),
                Err(Excess::Malformed),
                "{length}"
            );
        }
        assert_eq!(
            check(b"\x0f", CLIENT_EVENT),
            Err(Excess::Malformed),
            "wire type 7"
        );
        assert_eq!(check(b"", CLIENT_EVENT), Ok(()));
    }
}
