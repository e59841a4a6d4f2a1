/** The headings of a Markdown text: those that begin with `#`, outside of code. */
export function headings(markdown) {
  const found = [];
  const slugs = new Map();
  let fence = null;
  for (const line of markdown.split(/\r?\n/)) {
    const mark = /^ {0,3}(`{3,}|~{3,})/.exec(line)?.[1];
    if (fence) {
      // Only a mark of the same kind, at least as long, ends a block.
      if (mark && mark[0] === fence[0] && mark.length >= fence.length) fence = null;
      continue;
    }
    if (mark) {
      fence = mark;
      continue;
    }
    const heading = /^ {0,3}(#{1,6})[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*$/.exec(line);
    if (!heading) continue;
    const [, { length: level }, text] = heading;
    found.push({ level, text, slug: unique(slugs, slug(text)) });
  }
  return found;
}

/** What GitHub links a heading by. */
export function slug(text) {
  return text
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\p{M}_\- ]/gu, '')
    .replaceAll(' ', '-');
}

/** A nested list of links, down to a level. */
export function contents(markdown, { depth = 3 } = {}) {
  const listed = headings(markdown).filter(({ level }) => level <= depth);
  const top = Math.min(...listed.map(({ level }) => level));
  return listed.map(({ level, text, slug }) => `${'  '.repeat(level - top)}- [${text}](#${slug})\n`).join('');
}

function unique(slugs, slug) {
  const seen = slugs.get(slug) ?? 0;
  slugs.set(slug, seen + 1);
  return seen === 0 ? slug : `${slug}-${seen}`;
}
