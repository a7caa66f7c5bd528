// A client of each HTTP library of Node: client.mjs LIBRARY URL [BODY]. It prints
// the status, the version of HTTP, and the body of the answer.
import http2 from "node:http2";
import https from "node:https";

const [library, url, body] = process.argv.slice(2);
const method = body === undefined ? "GET" : "POST";
const headers = new URL(url).host === "api.example.com" ? { authorization: "Bearer " + process.env.GH_TOKEN } : {};

function done(status, version, text) {
  console.log(status, "over", version);
  console.log(text);
  process.exit(status === 200 ? 0 : 1);
}

async function text(stream) {
  let all = "";
  for await (const part of stream) all += part;
  return all;
}

async function useFetch(fetch, options, version) {
  const r = await fetch(url, { method, headers, body, ...options });
  done(r.status, version, await r.text());
}

async function useRequest(undici) {
  const r = await undici.request(url, { method, headers, body });
  done(r.statusCode, "HTTP/1.1", await r.body.text());
}

async function useHTTPS() {
  const r = await new Promise((resolve, reject) => https.request(url, { method, headers }, resolve).on("error", reject).end(body));
  done(r.statusCode, "HTTP/" + r.httpVersion, await text(r));
}

async function useHTTP2() {
  const { origin, pathname } = new URL(url);
  const session = http2.connect(origin);
  const failed = new Promise((_, reject) => session.on("error", reject));
  const stream = session.request({ ":path": pathname, ":method": method, ...headers });
  const head = new Promise((resolve) => stream.on("response", resolve));
  stream.on("error", () => {}); // the session tells
  stream.end(body);
  const h = await Promise.race([head, failed]);
  done(h[":status"], "HTTP/2", await text(stream));
}

async function useWebSocket(WebSocket) {
  const ws = new WebSocket(url);
  const texts = ["first", "x".repeat(70000), "last"];
  const code = await new Promise((resolve, reject) => {
    let n = 0;
    ws.onerror = (e) => reject(e.error ?? new Error("the WebSocket failed"));
    ws.onopen = () => texts.forEach((t) => ws.send(t));
    ws.onmessage = (e) => {
      if (e.data !== "echo " + texts[n++]) reject(new Error("another text came back"));
      if (n === texts.length) ws.close(1000);
    };
    ws.onclose = (e) => resolve(e.code);
  });
  console.log("three came back, closed with", code);
  process.exit(0);
}

if (library === "fetch") await useFetch(fetch, {}, "HTTP/1.1");
else if (library === "https") await useHTTPS();
else if (library === "http2") await useHTTP2();
else {
  const undici = await import("undici");
  undici.setGlobalDispatcher(new undici.EnvHttpProxyAgent(library === "undici-h2" ? { allowH2: true } : {}));
  if (library === "undici") await useRequest(undici);
  else if (library === "undici-h2") await useFetch(undici.fetch, {}, "HTTP/2");
  else await useWebSocket(undici.WebSocket);
}
