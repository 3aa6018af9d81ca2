//! What a worker has not been told yet. Bounded by what it has under way: a call
//! that is taken back before it goes out leaves nothing here, and credit adds up.

use std::collections::VecDeque;

use super::variables::Told;
use crate::domain::CallId;

/// Answers that may lie here unread: their worker's next request waits until it reads.
pub(super) const MOST_ANSWERS: usize = 16;

#[derive(Default)]
pub(super) struct Outbox {
    orders: VecDeque<Order>,
    answers: usize,
}

pub(super) enum Order {
    Execute(CallId),
    Cancel(CallId, &'static str),
    /// How much is in the call's slot.
    Credit(CallId),
    Variable(String, Told),
}

impl Outbox {
    pub(super) fn execute(&mut self, id: CallId) {
        self.orders.push_back(Order::Execute(id));
    }

    pub(super) fn cancel(&mut self, id: CallId, reason: &'static str) {
        self.orders.push_back(Order::Cancel(id, reason));
    }

    pub(super) fn credit(&mut self, id: &CallId) {
        let is_credit = |order: &Order| matches!(order, Order::Credit(other) if other == id);
        if !self.orders.iter().any(is_credit) {
            self.orders.push_back(Order::Credit(id.clone()));
        }
    }

    pub(super) fn variable(&mut self, request: String, told: Told) {
        self.answers += 1;
        self.orders.push_back(Order::Variable(request, told));
    }

    /// Takes back what has not gone out of this call.
    pub(super) fn forget(&mut self, id: &CallId) {
        self.orders.retain(|order| match order {
            Order::Execute(other) | Order::Credit(other) | Order::Cancel(other, _) => other != id,
            Order::Variable(..) => true,
        });
    }

    pub(super) fn pop(&mut self) -> Option<Order> {
        let order = self.orders.pop_front()?;
        if let Order::Variable(..) = order {
            self.answers -= 1;
        }
        Some(order)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    /// Whether the worker leaves too many answers unread to be given more.
    pub(super) fn is_full(&self) -> bool {
        self.answers >= MOST_ANSWERS
    }
}
