// The tasks that somebody typed, one a line: as a session's context, and searched by the words they share.

/** Too frequent to tell one task from another. */
const COMMON = new Set(("a an and as at be by can could das der die for from i in is it me my new of on or please the this that "
  + "to und us we will with you your").split(" "));
const MOST_FOUND = 10;
/** The least similarity that is worth showing the model. */
const LEAST = 0.15;

function read(text) {
  const lines = text.split("\n").map((line) => line.trim());
  return lines.flatMap((line, at) => {
    const [, mark, description] = /^(?:\[([ x-])\])?\s*(.*)$/i.exec(line);
    if (!description) return [];
    const status = { x: "completed", "-": "deleted" }[mark?.toLowerCase()] ?? "active";
    return [{ task_id: at + 1, description, status }];
  });
}

/** As a hello and a frame bring it. */
export function contextOf(text) {
  const tasks = read(text);
  const of = (status) => tasks.filter((task) => task.status === status)
    .map(({ task_id, description }) => ({ task_id, description }));
  return {
    active_tasks: of("active"), completed_tasks: of("completed"), deleted_tasks: of("deleted"),
    goals: [], generated_at: new Date().toISOString(),
  };
}

function words(text) {
  const all = text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  return new Set(all.filter((word) => !COMMON.has(word)));
}

/** The tasks that share words with the query, best first. */
export function search(text, query, kind) {
  const wanted = words(query);
  const found = read(text).map((task) => {
    const own = words(task.description);
    const shared = [...wanted].filter((word) => own.has(word)).length;
    const similarity = shared ? shared / Math.sqrt(wanted.size * own.size) : 0;
    return { ...task, similarity, match_type: kind === "search_similar" ? "vector" : "fts" };
  });
  return found.filter(({ similarity }) => similarity >= LEAST)
    .sort((one, other) => other.similarity - one.similarity).slice(0, MOST_FOUND);
}
