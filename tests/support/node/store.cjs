// C-ECHO, then C-STORE of DICOM files over one association; prints the status of each in hexadecimal.
const { Client, requests, constants, log } = require("dcmjs-dimse");

const [port, calling, called, ...files] = process.argv.slice(2);
log.setLevel("error");
const client = new Client();
const say = (what) => (response) => {
  if (response.getStatus() !== constants.Status.Pending) {
    process.stdout.write(`${what} ${response.getStatus().toString(16).padStart(4, "0")}\n`);
  }
};
const echo = new requests.CEchoRequest();
echo.on("response", say("echo"));
client.addRequest(echo);
for (const file of files) {
  const store = new requests.CStoreRequest(file);
  store.on("response", say("store"));
  client.addRequest(store);
}
const fail = (what) => (error) => {
  process.stderr.write(`${what} ${JSON.stringify(error) ?? ""}\n`);
  process.exitCode = 1;
};
client.on("associationRejected", fail("rejected"));
client.on("networkError", fail("network"));
client.send("127.0.0.1", Number(port), calling, called);
