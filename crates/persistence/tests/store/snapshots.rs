use chrono::NaiveDate;
use domain::{PortfolioId, Snapshot};
use persistence::{StoreError, portfolios, snapshots};

use crate::harness::{Db, money, november};

pub fn snapshot(portfolio_id: PortfolioId, date: NaiveDate, total: &str, provisional: bool) -> Snapshot {
    Snapshot {
        dividends_receivable: "0".parse().unwrap(),
        portfolio_id,
        date,
        total_value: money(total),
        cash_balance: money("0.10"),
        positions_value: money("999999999999999.99"),
        net_flow: money("-0.01"),
        provisional,
    }
}

async fn portfolio(db: &Db) -> PortfolioId {
    let sam = db.user("sam").await.id;
    db.portfolio(sam, "5").await.id
}

async fn save(db: &Db, rows: Vec<Snapshot>) {
    db.write(move |tx| snapshots::save(tx, &rows)).await;
}

async fn all(db: &Db, portfolio: PortfolioId) -> Vec<Snapshot> {
    db.read(move |tx| snapshots::window(tx, portfolio, november(1), november(30))).await
}

#[tokio::test]
async fn a_final_row_replaces_a_provisional_one_and_never_vice_versa() {
    let db = Db::new().await;
    let id = portfolio(&db).await;
    let row = |total, provisional| snapshot(id, november(20), total, provisional);
    for (saved, expected) in [
        (row("1.00", true), row("1.00", true)),
        (row("2.00", true), row("2.00", true)),
        (row("3.00", false), row("3.00", false)),
        (row("4.00", true), row("3.00", false)),
        (row("3.00", false), row("3.00", false)),
    ] {
        save(&db, vec![saved]).await;
        assert_eq!(all(&db, id).await, [expected]);
    }
}

#[tokio::test]
async fn saving_again_changes_nothing() {
    let db = Db::new().await;
    let id = portfolio(&db).await;
    let rows = vec![snapshot(id, november(20), "5.00", true)];
    save(&db, rows.clone()).await;
    save(&db, rows.clone()).await;
    save(&db, Vec::new()).await;
    assert_eq!(all(&db, id).await, rows);
    assert_eq!(db.read(snapshots::count).await, 1);
}

#[tokio::test]
async fn provisional_rows_never_replace_final_ones() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(db.portfolio(sam, "5").await.id);
    }
    let settled = snapshot(ids[2], november(20), "7.00", false);
    save(&db, vec![settled.clone()]).await;
    save(&db, [1, 2, 0].map(|n| snapshot(ids[n], november(20), "1.00", true)).into()).await;
    assert_eq!(all(&db, ids[2]).await, [settled]);
    assert_eq!(all(&db, ids[0]).await.len() + all(&db, ids[1]).await.len(), 2);
}

#[tokio::test]
async fn a_final_row_that_is_being_written_is_not_replaced_by_a_provisional_one() {
    let db = Db::new().await;
    let id = portfolio(&db).await;
    let (saved, is_saved) = tokio::sync::oneshot::channel();
    let (store, url) = (db.store(), db.url());
    let settling = tokio::spawn(async move {
        store
            .write(move |tx| {
                snapshots::save(tx, &[snapshot(id, november(20), "7.00", false)])?;
                saved.send(()).unwrap();
                Db::until_somebody_waits(&url);
                Ok::<_, StoreError>(())
            })
            .await
    });
    is_saved.await.unwrap();
    save(&db, vec![snapshot(id, november(20), "1.00", true)]).await;
    settling.await.unwrap().unwrap();
    assert_eq!(all(&db, id).await, [snapshot(id, november(20), "7.00", false)]);
}

#[tokio::test]
async fn thousands_of_rows_are_saved_at_once() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let ids = db
        .write(move |tx| {
            let new = || crate::harness::new_portfolio(sam, "One", "1");
            (0..1_201)
                .map(|_| Ok(persistence::portfolios::insert(tx, new())?.id))
                .collect::<Result<Vec<PortfolioId>, StoreError>>()
        })
        .await;
    for provisional in [true, false, true] {
        save(&db, ids.iter().map(|id| snapshot(*id, november(20), "1.00", provisional)).collect()).await;
    }
    assert_eq!(db.read(snapshots::count).await, 1_201);
}

#[tokio::test]
async fn windows_and_the_last_final_row_before_a_day() {
    let db = Db::new().await;
    let id = portfolio(&db).await;
    let rows = [
        snapshot(id, november(17), "1.00", false),
        snapshot(id, november(18), "2.00", false),
        snapshot(id, november(19), "3.00", true),
    ];
    assert_eq!(db.read(snapshots::newest_date).await, None);
    for row in [2, 0, 1] {
        save(&db, vec![rows[row].clone()]).await;
    }
    assert_eq!(db.read(snapshots::newest_date).await, Some(november(19)), "a provisional row counts");
    let window = |first, last| db.read(move |tx| snapshots::window(tx, id, november(first), november(last)));
    assert_eq!(window(17, 19).await, rows);
    assert_eq!(window(18, 18).await, rows[1..2]);
    let last = |day| db.read(move |tx| snapshots::last_before(tx, id, november(day)));
    assert_eq!(last(20).await.as_ref(), Some(&rows[1]), "the provisional row does not count");
    assert_eq!(last(18).await.as_ref(), Some(&rows[0]));
    assert_eq!(last(17).await, None);
}

#[tokio::test]
async fn the_overview_pages_newest_first() {
    let db = Db::new().await;
    let id = portfolio(&db).await;
    for day in 16..=20 {
        save(&db, vec![snapshot(id, november(day), "1.00", false)]).await;
    }
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = db.read(move |tx| snapshots::page_of_all(tx, before, 2)).await;
        let Some((last, ..)) = page.last() else { break };
        before = Some(*last);
        assert!(page.iter().all(|(.., name)| name == "Growth"));
        seen.extend(page.into_iter().map(|(_, row, _)| row.date));
    }
    assert_eq!(seen, [20, 19, 18, 17, 16].map(november));
}

#[tokio::test]
async fn a_snapshot_needs_its_portfolio() {
    let db = Db::new().await;
    let row = snapshot(PortfolioId(99), november(20), "1.00", false);
    let refused = db.try_write(move |tx| snapshots::save(tx, &[row])).await;
    assert!(matches!(refused, Err(StoreError::MissingReference(_))), "{refused:?}");
}

#[tokio::test]
async fn one_missing_portfolio_among_many_is_found_whether_rows_are_new_or_replaced() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let (one, gone, two) =
        (db.portfolio(sam, "5").await.id, db.portfolio(sam, "5").await.id, db.portfolio(sam, "5").await.id);
    db.write(move |tx| portfolios::delete(tx, gone, sam)).await;
    let rows = move |total| [one, gone, two].map(|id| snapshot(id, november(20), total, true));
    for total in ["1.00", "2.00"] {
        let refused = db.try_write(move |tx| snapshots::save(tx, &rows(total))).await;
        assert!(matches!(refused, Err(StoreError::MissingReference(_))), "{refused:?}");
        assert_eq!(
            all(&db, one).await.len() + all(&db, two).await.len(),
            if total == "1.00" { 0 } else { 2 }
        );
        save(&db, [one, two].map(|id| snapshot(id, november(20), "1.00", true)).into()).await;
    }
}

/// The rows at the places that are looked up first are new, others are there already.
#[tokio::test]
async fn new_rows_and_rows_to_replace_can_be_mixed() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(db.portfolio(sam, "5").await.id);
    }
    let row = |id: &PortfolioId, total| snapshot(*id, november(20), total, false);
    save(&db, vec![row(&ids[3], "1.00"), row(&ids[17], "1.00")]).await;
    save(&db, ids.iter().map(|id| row(id, "2.00")).collect()).await;
    for id in ids {
        assert_eq!(all(&db, id).await, [row(&id, "2.00")]);
    }
}

#[tokio::test]
async fn a_portfolio_that_is_deleted_while_its_snapshot_is_written_leaves_none() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let id = db.portfolio(sam, "5").await.id;
    let (saved, is_saved) = tokio::sync::oneshot::channel();
    let (store, url) = (db.store(), db.url());
    let writing = tokio::spawn(async move {
        store
            .write(move |tx| {
                snapshots::save(tx, &[snapshot(id, november(20), "7.00", false)])?;
                saved.send(()).unwrap();
                Db::until_somebody_waits(&url);
                Ok::<_, StoreError>(())
            })
            .await
    });
    is_saved.await.unwrap();
    db.write(move |tx| portfolios::delete(tx, id, sam)).await;
    writing.await.unwrap().unwrap();
    assert_eq!(db.read(snapshots::count).await, 0);
}

#[tokio::test]
async fn a_snapshot_of_a_portfolio_that_is_being_deleted_is_refused() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let id = db.portfolio(sam, "5").await.id;
    let (deleted, is_deleted) = tokio::sync::oneshot::channel();
    let (store, url) = (db.store(), db.url());
    let deleting = tokio::spawn(async move {
        store
            .write(move |tx| {
                portfolios::delete(tx, id, sam)?;
                deleted.send(()).unwrap();
                Db::until_somebody_waits(&url);
                Ok::<_, StoreError>(())
            })
            .await
    });
    is_deleted.await.unwrap();
    let row = snapshot(id, november(20), "7.00", false);
    let refused = db.try_write(move |tx| snapshots::save(tx, &[row])).await;
    assert!(matches!(refused, Err(StoreError::MissingReference(_))), "{refused:?}");
    deleting.await.unwrap().unwrap();
    assert_eq!(db.read(snapshots::count).await, 0);
}

/// On PostgreSQL the two must take their locks in the same order.
#[tokio::test]
async fn snapshots_are_replaced_while_several_of_their_portfolios_are_deleted() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let (first, second, kept) =
        (db.portfolio(sam, "5").await.id, db.portfolio(sam, "5").await.id, db.portfolio(sam, "5").await.id);
    let rows = move |total| [second, kept].map(|id| snapshot(id, november(20), total, true)).to_vec();
    save(&db, rows("1.00")).await;
    let (deleted, is_deleted) = tokio::sync::oneshot::channel();
    let (store, url) = (db.store(), db.url());
    let deleting = tokio::spawn(async move {
        store
            .write(move |tx| {
                portfolios::delete(tx, first, sam)?;
                deleted.send(()).unwrap();
                Db::until_somebody_waits(&url);
                portfolios::delete(tx, second, sam)
            })
            .await
    });
    is_deleted.await.unwrap();
    let refused = db.try_write(move |tx| snapshots::save(tx, &rows("2.00"))).await;
    assert!(matches!(refused, Err(StoreError::MissingReference(_))), "{refused:?}");
    assert!(deleting.await.unwrap().unwrap());
    assert_eq!(all(&db, kept).await, [snapshot(kept, november(20), "1.00", true)]);
}

#[tokio::test]
async fn ids_of_portfolios_with_snapshots_do_not_change() {
    let db = Db::new().await;
    let id = portfolio(&db).await;
    save(&db, vec![snapshot(id, november(20), "7.00", false)]).await;
    db.sql("UPDATE portfolios SET id = 99").unwrap_err();
    db.sql("UPDATE portfolio_snapshots SET portfolio_id = 99").unwrap_err();
    assert_eq!(all(&db, id).await.len(), 1);
}

#[tokio::test]
async fn every_write_increments_the_version_of_its_portfolios() {
    let db = Db::new().await;
    let id = portfolio(&db).await;
    let version = async || {
        let one = db.read(move |tx| snapshots::version(tx, id)).await;
        let row = db.query(move |statement| portfolios::versions(statement, &[id])).await.remove(0);
        assert_eq!((row.0, row.3), (id, one));
        one
    };
    assert_eq!(version().await, 0);
    let row = move |total, provisional| snapshot(id, november(20), total, provisional);
    for (rows, expected) in [
        (vec![row("1.00", true)], 1),
        (vec![row("2.00", false), snapshot(id, november(21), "3.00", false)], 2),
        (Vec::new(), 2),
    ] {
        save(&db, rows).await;
        assert_eq!(version().await, expected);
    }
    // A write that is rolled back does not change the version.
    let failed = db.try_write(move |tx| {
        snapshots::save(tx, &[row("4.00", false)])?;
        Err::<(), _>(StoreError::Corrupt("rolled back".to_owned()))
    });
    failed.await.unwrap_err();
    assert_eq!(version().await, 2);
}
