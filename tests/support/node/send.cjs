// Sends the HL7 messages of a JSON file over one MLLP connection and prints each answer's MSA segment.
const { readFileSync } = require("node:fs");
const { Client, Message } = require("node-hl7-client");

const [port, file] = process.argv.slice(2);
const texts = JSON.parse(readFileSync(file, "utf8"));
const client = new Client({ host: "127.0.0.1" });
let answered = () => {};
const connection = client.createConnection(
  { port: Number(port), waitAck: true, maxConnectionAttempts: 3 },
  async (response) => {
    const answer = response.getMessage();
    const told = ["MSA.1", "MSA.2"].map((path) => answer.get(path).toString());
    process.stdout.write(`${told.join(" ")}\n`);
    answered();
  },
);
connection.on("connection.error", (error) => {
  process.stderr.write(`${error}\n`);
  process.exit(1);
});

(async () => {
  for (const text of texts) {
    const answer = new Promise((resolve) => {
      answered = resolve;
    });
    await connection.sendMessage(new Message({ text }));
    await answer;
  }
  await connection.close();
  process.exit(0);
})();
