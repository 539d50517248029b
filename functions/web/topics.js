// What a new conversation may begin with.
import { element } from "./elements.js";

const TOPICS = [
  {
    cloud: "aws",
    name: "AWS",
    about: "Lambda, DynamoDB, S3, IAM",
    questions: [
      "How long can a Lambda function run?",
      "When is DynamoDB the right choice?",
      "How do I keep S3 costs low?",
    ],
  },
  {
    cloud: "gcp",
    name: "Google Cloud",
    about: "Cloud Run, Firestore, Pub/Sub",
    questions: [
      "What does Cloud Run cost when nobody calls it?",
      "What is the difference between Firestore and Bigtable?",
      "How does a service account get its rights?",
    ],
  },
  {
    cloud: "azure",
    name: "Azure",
    about: "Functions, Cosmos DB, Entra",
    questions: [
      "What is the Azure counterpart of SQS?",
      "Which Azure Functions plan scales to zero?",
      "How does a managed identity work?",
    ],
  },
];

/** The cards; `ask` takes the question that was chosen. */
export function topicCards(ask) {
  return TOPICS.map(({ cloud, name, about, questions }) => {
    const starters = questions.map((question) => {
      const starter = element("button", { type: "button", className: "starter", textContent: question });
      starter.addEventListener("click", () => ask(question));
      return element("li", {}, starter);
    });
    const heading = element("h2", { textContent: name });
    return element(
      "section",
      { className: `topic ${cloud}`, attributes: { "aria-label": name } },
      heading,
      element("p", { textContent: about }),
      element("ul", {}, ...starters),
    );
  });
}
