use persistence::installation;

use crate::harness::Db;

#[tokio::test]
async fn a_value_is_stored_and_replaced() {
    let db = Db::new().await;
    assert_eq!(db.read(|tx| installation::get(tx, "clock")).await, None);
    db.write(|tx| installation::set(tx, "clock", "first")).await;
    db.write(|tx| installation::set(tx, "clock", "second")).await;
    db.write(|tx| installation::set(tx, "other", "")).await;
    assert_eq!(db.read(|tx| installation::get(tx, "clock")).await, Some("second".into()));
    assert_eq!(db.read(|tx| installation::get(tx, "other")).await, Some(String::new()));
}
