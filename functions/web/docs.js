// Shows openapi.json: every route with its parameters, bodies and answers.
const specification = await (await fetch("openapi.json")).json();
const routes = document.getElementById("routes");

function add(parent, tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  parent.append(element);
  return element;
}

function schemaOf(content) {
  return Object.entries(content ?? {}).map(([type, { schema }]) =>
    `${type}${schema.$ref ? ` ${schema.$ref.split("/").pop()}` : ""}`).join(", ");
}

for (const [path, methods] of Object.entries(specification.paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    const section = add(routes, "section", "");
    add(section, "h2", `${method.toUpperCase()} ${path}`);
    add(section, "p", operation.summary);
    const list = add(section, "ul", "");
    for (const { name, in: place, description } of operation.parameters ?? []) {
      add(list, "li", `${place} ${name}${description ? `: ${description}` : ""}`);
    }
    if (operation.requestBody) add(list, "li", `takes ${schemaOf(operation.requestBody.content)}`);
    for (const [status, { description, content }] of Object.entries(operation.responses)) {
      add(list, "li", `${status}: ${description} ${schemaOf(content)}`.trim());
    }
  }
}

const schemas = add(routes, "section", "");
add(schemas, "h2", "Bodies");
for (const [name, schema] of Object.entries(specification.components.schemas)) {
  add(schemas, "h3", name);
  add(schemas, "pre", JSON.stringify(schema, null, 2)).tabIndex = 0;
}
routes.removeAttribute("aria-busy");
