//! Variables come, are replaced, and go.

use tokio::time::{advance, timeout};

use super::*;

struct House {
    variables: Variables,
    session: SessionId,
}

impl House {
    fn new() -> Self {
        let world = World::fixed(Timestamp::UNIX_EPOCH, 1);
        Self {
            variables: Variables::new(VariableOptions::default(), world),
            session: SessionId::new("s"),
        }
    }

    fn set(&self, name: &str, value: Value, expected: Option<i64>) -> Told {
        self.ask(Ask::Set {
            name: name.to_owned(),
            value,
            expected,
            time_to_live: 0,
        })
    }

    fn get(&self, name: &str) -> Result<(Value, i64), VariableFault> {
        let name = name.to_owned();
        let mut got = self.ask(Ask::Get { name })?;
        let it = got.remove(0);
        Ok((it.value.unwrap(), it.version))
    }

    fn names(&self, prefix: &str) -> Vec<String> {
        let prefix = prefix.to_owned();
        let listed = self.ask(Ask::List { prefix }).unwrap();
        assert!(listed.iter().all(|it| it.value.is_none()));
        listed.into_iter().map(|it| it.name).collect()
    }

    fn ask(&self, ask: Ask) -> Told {
        self.variables.ask(&self.session, ask)
    }

    fn bytes(&self) -> usize {
        self.variables.kept().bytes
    }
}

#[tokio::test(start_paused = true)]
async fn c06_variables_are_made_got_listed_and_deleted_per_session() {
    let mut house = House::new();
    let made = house.set("cart/1", Value::Integer(7), None).unwrap();
    assert_eq!(made[0].version, 1);
    assert_eq!(made[0].expires_at.as_second(), 3_600);
    assert_eq!(made[0].value, None);
    house.set("name", Value::Text("Ada".into()), None).unwrap();
    assert_eq!(house.get("cart/1"), Ok((Value::Integer(7), 1)));
    assert_eq!(house.names(""), ["cart/1", "name"]);
    assert_eq!(house.names("cart/"), ["cart/1"]);
    let name = "cart/1".to_owned();
    let expected = None;
    house.ask(Ask::Delete { name, expected }).unwrap();
    assert_eq!(house.get("cart/1"), Err(VariableFault::NotFound));
    house.session = SessionId::new("another");
    assert_eq!(house.get("name"), Err(VariableFault::NotFound));
    assert_eq!(house.names(""), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn c06_who_expects_another_version_changes_nothing_and_is_told_which_there_is() {
    let house = House::new();
    let other = |told: Told| match told {
        Err(VariableFault::OtherVersion(there)) => there.map(|it| it.version),
        other => panic!("{other:?}"),
    };
    assert_eq!(other(house.set("n", Value::Null, Some(1))), None);
    house.set("n", Value::Integer(1), Some(0)).unwrap();
    assert_eq!(other(house.set("n", Value::Null, Some(0))), Some(1));
    let again = house.set("n", Value::Integer(2), Some(1)).unwrap();
    assert_eq!(again[0].version, 2);
    assert_eq!(other(house.set("n", Value::Null, Some(1))), Some(2));
    assert_eq!(house.get("n"), Ok((Value::Integer(2), 2)));
    let delete = |expected| {
        let name = "n".to_owned();
        let expected = Some(expected);
        house.ask(Ask::Delete { name, expected })
    };
    assert_eq!(other(delete(1)), Some(2));
    delete(2).unwrap();
    delete(2).unwrap();
    assert_eq!(house.bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn c06_what_has_expired_is_not_seen_and_is_cleaned_within_a_minute() {
    let house = House::new();
    let set = |name: &str, time_to_live| {
        let ask = Ask::Set {
            name: name.to_owned(),
            value: Value::Bool(true),
            expected: None,
            time_to_live,
        };
        house.ask(ask)
    };
    set("short", 10).unwrap();
    set("usual", 0).unwrap();
    for wrong in [-1, 86_401] {
        assert!(matches!(
            set("x", wrong),
            Err(VariableFault::Invalid(told)) if told.contains("time_to_live_s")
        ));
    }
    let full = house.bytes();
    advance(Duration::from_secs(10)).await;
    assert_eq!(house.names(""), ["usual"]);
    assert!(house.bytes() < full);
    // One that nobody looks at goes as well.
    let cleaning = house.variables.keep_clean();
    let _ = timeout(Duration::from_secs(3_590 + 61), cleaning).await;
    let kept = house.variables.kept();
    assert_eq!((kept.bytes, kept.sessions.len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn c06_there_is_room_for_so_many_and_no_more() {
    let mut house = House::new();
    let full = |told: Told| matches!(told, Err(VariableFault::Full(_)));
    for number in 0..64 {
        house.set(&format!("v{number}"), Value::Null, None).unwrap();
    }
    assert!(full(house.set("one more", Value::Null, None)));
    house.set("v0", Value::Integer(1), None).unwrap();
    let text = |kib: usize| Value::Text("x".repeat(kib << 10));
    assert!(full(house.set("v1", text(300), None)));
    house.set("v1", text(200), None).unwrap();
    house.set("v1", text(240), None).unwrap();
    assert!(full(house.set("v2", text(20), None)));
    // And in all sessions.
    let mut sessions = 0;
    house.session = SessionId::new("s0");
    while !full(house.set("big", text(255), None)) {
        sessions += 1;
        house.session = SessionId::new(format!("s{sessions}"));
    }
    assert!(house.bytes() <= 64 << 20 && house.bytes() > 63 << 20);
    let name = "x".repeat(129);
    let told = house.ask(Ask::Get { name }).unwrap_err();
    assert!(told.to_string().starts_with("name "), "{told}");
}
