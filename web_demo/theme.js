// A classic script in the head: the page must not flash in the wrong colours before modules run.
try {
  const { theme } = JSON.parse(localStorage.getItem("surtitle") ?? "{}");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // No storage (or not ours): the system's own preference holds.
}
