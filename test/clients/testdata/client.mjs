// A client of each HTTP library of Node: client.mjs (LIBRARY NAME URL BODY)…, each
// printed under its name: the status, the version of HTTP, the body of the answer.
import http2 from "node:http2";
import https from "node:https";
import * as undici from "undici";

const viaEnv = new undici.EnvHttpProxyAgent();
const secondVersion = new undici.Agent({ allowH2: true });

async function text(stream) {
  let all = "";
  for await (const part of stream) all += part;
  return all;
}

const libraries = {
  async fetch(url, options) {
    const r = await fetch(url, options);
    return [r.status, "fetch", await r.text()];
  },
  async https(url, { body, ...options }) {
    const r = await new Promise((resolve, reject) => https.request(url, { agent: false, ...options }, resolve).on("error", reject).end(body));
    return [r.statusCode, "HTTP/" + r.httpVersion, await text(r)];
  },
  async http2(url, { method, headers, body }) {
    const { origin, pathname } = new URL(url);
    const session = http2.connect(origin);
    const failed = new Promise((_, reject) => session.on("error", reject));
    const stream = session.request({ ":path": pathname, ":method": method, ...headers });
    const head = new Promise((resolve) => stream.on("response", resolve));
    stream.on("error", () => {}); // the session tells
    stream.end(body);
    const h = await Promise.race([head, failed]);
    const all = await text(stream);
    session.close();
    return [h[":status"], "HTTP/2", all];
  },
  async undici(url, options) {
    const r = await undici.request(url, { dispatcher: viaEnv, ...options });
    return [r.statusCode, "undici", await r.body.text()];
  },
  async "undici-h2"(url, options) {
    const r = await undici.fetch(url, { dispatcher: secondVersion, ...options });
    return [r.status, "undici", await r.text()];
  },
  async socket(url) {
    const ws = new undici.WebSocket(url, { dispatcher: viaEnv });
    const texts = ["first", "x".repeat(70000), "last"];
    let n = 0;
    const code = await new Promise((resolve, reject) => {
      ws.onerror = (e) => reject(e.error ?? new Error("the WebSocket failed"));
      ws.onopen = () => texts.forEach((t) => ws.send(t));
      ws.onmessage = (e) => {
        if (e.data !== "echo " + texts[n++]) reject(new Error("another text came back"));
        if (n === texts.length) ws.close(1000);
      };
      ws.onclose = (e) => resolve(e.code);
    });
    return [200, "WebSocket", n + " came back, closed with " + code];
  },
};

const words = process.argv.slice(2);
while (words.length > 0) {
  const [library, name, url, body] = words.splice(0, 4);
  const headers = new URL(url).host === "api.example.com" ? { authorization: "Bearer " + process.env.GH_TOKEN } : {};
  console.log("==", name);
  let code = 0;
  try {
    const [status, version, all] = await libraries[library](url, { method: body ? "POST" : "GET", headers, body: body || undefined });
    console.log(status, "over", version);
    console.log(all);
    if (status !== 200) code = 1;
  } catch (e) {
    console.log(String(e), String(e.cause ?? ""));
    code = 1;
  }
  console.log("--", code);
}
process.exit(0); // connections that are kept alive would keep it, too
