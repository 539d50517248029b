// Terraform's language, which highlight.js does not bring.
export default (hljs) => {
  const interpolation = { className: "subst", begin: /[$%]\{/, end: /\}/ };
  const string = { className: "string", begin: /"/, end: /"/, contains: [hljs.BACKSLASH_ESCAPE, interpolation] };
  const heredoc = hljs.END_SAME_AS_BEGIN({ className: "string", begin: /<<[-~]?(\w+)/, end: /^\s*(\w+)/ });
  interpolation.contains = [string, hljs.C_NUMBER_MODE];
  return {
    name: "HCL",
    aliases: ["terraform", "tf"],
    keywords: {
      keyword:
        "resource data variable output locals module provider terraform moved import removed check dynamic for in if",
      literal: "true false null",
      built_in: "var local each count self path",
    },
    contains: [
      hljs.HASH_COMMENT_MODE,
      hljs.C_LINE_COMMENT_MODE,
      hljs.C_BLOCK_COMMENT_MODE,
      string,
      heredoc,
      hljs.C_NUMBER_MODE,
      { className: "attr", begin: /[A-Za-z_][\w-]*(?=\s*=[^=>])/ },
      { className: "title function_", begin: /[a-z_]\w*(?=\()/ },
    ],
  };
};
