//! A page of another origin in a real browser: it trades with a token, and reads the event stream with `fetch`.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};

use crate::browser::{Browser, DESKTOP};
use crate::client::PASSWORD;
use crate::installation::{Installation, free_port};
use crate::stack::Stack;

/// Serves an empty page at another origin until the test ends.
fn serve_empty_page() -> String {
    let listener = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let page = "<!doctype html><title>Elsewhere</title>";
            // The content of the request is ignored.
            let mut head = BufReader::new(&connection).lines();
            while head.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close";
            let _ = write!(&connection, "{head}\r\nContent-Length: {}\r\n\r\n{page}", page.len());
        }
    });
    origin
}

const TRADE: &str = r#"
    const [server, password, done] = arguments;
    const api = `${server}/api/v1`;
    const send = (method, path, body, headers = {}) => fetch(api + path, {
        method, headers: { "Content-Type": "application/json", ...headers }, body: body && JSON.stringify(body),
    });
    // Reads events until `fits` returns true, and returns that event with its id.
    async function event(path, headers, fits) {
        const ended = new AbortController();
        const response = await fetch(api + path, { headers, signal: ended.signal });
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        let text = "";
        for (;;) {
            const { value, done } = await reader.read();
            if (done) throw new Error("the stream ended");
            text += value;
            const frames = text.split("\n\n");
            text = frames.pop();
            for (const frame of frames) {
                const field = (name) => frame.split("\n").find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
                const found = { kind: field("event"), id: field("id"), data: JSON.parse(field("data") ?? "null") };
                if (fits(found)) {
                    ended.abort();
                    return found;
                }
            }
        }
    }
    (async () => {
        const name = `js${Date.now()}`;
        const user = await send("POST", "/auth/register", { username: name, email: `${name}@example.org`, password });
        const made = await send("POST", "/auth/tokens", { name: "page", username: name, password });
        const auth = { Authorization: `Bearer ${(await made.json()).token}` };
        const opened = await send("POST", "/portfolios", { name: "Growth", cash_balance: "10000.00" }, { ...auth, "Idempotency-Key": "open" });
        const { id } = await opened.json();
        const again = await send("POST", "/portfolios", { name: "Growth", cash_balance: "10000.00" }, { ...auth, "Idempotency-Key": "open" });
        const stream = `/stream?symbols=AAPL&portfolio=${id}`;
        const order = (symbol) => send("POST", `/portfolios/${id}/orders`, { symbol, side: "buy", type: "market", quantity: "1" }, auth);
        let following;
        const told = event(stream, auth, (found) => {
            // The order is placed once the stream has sent its first price.
            if (found.kind === "quote") following ??= order("AAPL");
            return found.kind === "order";
        });
        const first = await told;
        const placed = await (await following).json();
        const missed = await (await order("MSFT")).json();
        const resumed = await event(stream, { ...auth, "Last-Event-ID": first.id }, (found) => found.data?.id === missed.id || found.kind === "reset");
        const history = await send("GET", "/stocks/AAPL/history?range=1M", undefined, auth);
        const tag = history.headers.get("ETag");
        const known = await send("GET", "/stocks/AAPL/history?range=1M", undefined, { ...auth, "If-None-Match": tag });
        const refused = await send("POST", `/portfolios/${id}/cash`, { type: "withdrawal", amount: "1000000" }, auth);
        const header = (response, name) => response.headers.get(name) !== null;
        return {
            registered: user.status, location: opened.headers.get("Location") === `/api/v1/portfolios/${id}`,
            replayed: again.headers.get("Idempotent-Replayed"),
            told: first.data.id === placed.id, resumed: resumed.kind,
            known: known.status, refused: (await refused.json()).code,
            headers: ["X-Request-Id", "RateLimit", "RateLimit-Policy"].map((name) => header(refused, name)),
        };
    })().then(done, (error) => done({ error: String(error) }));
"#;

async fn run(browser: &Browser, script: &str, server: &str) -> Value {
    let arguments = vec![json!(server), json!(PASSWORD)];
    let done = tokio::time::timeout(Duration::from_secs(60), browser.page.execute_async(script, arguments));
    done.await.expect("the page's script ends").unwrap()
}

#[tokio::test]
async fn a_page_of_a_listed_origin_trades_with_a_token_and_follows_the_stream() {
    let origin = serve_empty_page();
    let installation = Installation::embedded()
        .with("CORS_ALLOWED_ORIGINS", &origin)
        .with("RATE_LIMITS", "on")
        .with("CLOCK_SPEED", "60");
    let stack = Stack::of(installation, 1, 0).await;
    let browser = Browser::open(&stack, DESKTOP, true).await;
    browser.page.goto(&origin).await.unwrap();
    let traded = run(&browser, TRADE, &stack.urls[0]).await;
    let expected = json!({
        "registered": 201, "location": true, "replayed": "true", "told": true, "resumed": "order", "known": 304,
        "refused": "insufficient_cash", "headers": [true, true, true],
    });
    assert_eq!(traded, expected);

    // A page of an origin that is not listed has no access.
    let stranger = serve_empty_page();
    browser.page.goto(&stranger).await.unwrap();
    let traded = run(&browser, TRADE, &stack.urls[0]).await;
    assert!(traded["error"].as_str().is_some_and(|error| error.contains("Failed to fetch")), "{traded}");
    browser.close().await;
    stack.ends_well().await;
}
