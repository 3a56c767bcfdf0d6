// Node's own server as an origin: argv is a socket's path and a log's.
const fs = require("fs");
const http = require("http");
const [socket, log] = process.argv.slice(2);
http.createServer((request, response) => {
  const seen = `${request.method} ${request.url} ${request.headers["x-request-id"]}`;
  fs.appendFileSync(log, `${seen}\n`);
  request.on("end", () => response.end(`seen ${seen};`));
  request.resume();
}).listen(socket);
