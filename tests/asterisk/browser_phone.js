// A phone in a browser, less the browser: JsSIP over a WebSocket of the package `ws`.
// node browser_phone.js URL LOCAL_ADDRESS ACCOUNT PASSWORD PBX; it says what happens, a line each, until it is ended.
"use strict";
const JsSIP = require("jssip");
const WebSocket = require("ws");
const [url, localAddress, account, password, pbx] = process.argv.slice(2);

class Socket {
  constructor() {
    Object.assign(this, { url, via_transport: url.split(":")[0].toUpperCase(), sip_uri: `sip:${pbx};transport=ws` });
  }
  connect() {
    this.socket = new WebSocket(url, "sip", { localAddress, rejectUnauthorized: false });
    this.socket.on("open", () => this.onconnect());
    this.socket.on("message", (data) => this.ondata(data.toString()));
    this.socket.on("close", () => this.ondisconnect(true, 1006, "closed"));
    this.socket.on("error", (error) => console.log("error", error.message));
  }
  disconnect() { this.socket.close(); }
  send(message) { this.socket.send(message); return true; }
  isConnected() { return this.socket.readyState === WebSocket.OPEN; }
  isConnecting() { return this.socket.readyState === WebSocket.CONNECTING; }
}

const agent = new JsSIP.UA({
  sockets: [new Socket()], uri: `sip:${account}@${pbx}`, password, register_expires: 60,
  connection_recovery_min_interval: 1, connection_recovery_max_interval: 2,
});
for (const event of ["connected", "disconnected", "registered", "unregistered"]) agent.on(event, () => console.log(event));
agent.on("registrationFailed", ({ cause }) => {
  console.log("failed", cause);
  setTimeout(() => agent.register(), 1000);
});
agent.start();
