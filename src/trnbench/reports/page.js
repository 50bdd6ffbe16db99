
'use strict';
const order = new Intl.Collator(undefined, { numeric: true });
const numberOf = (cell) => {
  const text = cell.dataset.v ?? cell.textContent;
  return text === '' ? NaN : Number(text);
};
function sort(table, column) {
  const head = table.tHead.rows[0].cells[column];
  const isDown = head.getAttribute('aria-sort') === 'ascending';
  for (const each of table.tHead.rows[0].cells) each.removeAttribute('aria-sort');
  head.setAttribute('aria-sort', isDown ? 'descending' : 'ascending');
  const isFigure = head.classList.contains('n');
  const body = table.tBodies[0];
  const keyed = [...body.rows].map((row) => {
    const cell = row.cells[column];
    const key = isFigure ? numberOf(cell) : cell.textContent;
    return { row, key, isUnknown: isFigure ? Number.isNaN(key) : key === '' || key === '—' };
  });
  keyed.sort((a, b) => {
    // What is not known comes last either way.
    if (a.isUnknown || b.isUnknown) return a.isUnknown - b.isUnknown;
    const apart = isFigure ? a.key - b.key : order.compare(a.key, b.key);
    return isDown ? -apart : apart;
  });
  body.append(...keyed.map((each) => each.row));
}
function addFilter(table) {
  const rows = [...table.tBodies[0].rows];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const bar = document.createElement('div');
  const label = document.createElement('label');
  const field = document.createElement('input');
  const count = document.createElement('span');
  bar.className = 'filter';
  count.className = 'count';
  count.setAttribute('aria-live', 'polite');
  field.type = 'search';
  label.append('Filter rows', field);
  bar.append(label, count);
  field.addEventListener('input', () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, number) => {
      row.hidden = !words.every((word) => texts[number].includes(word));
      shown += !row.hidden;
    });
    count.textContent = words.length ? `${shown} of ${rows.length} rows` : '';
  });
  table.parentElement.before(bar);
}
for (const table of document.querySelectorAll('table')) {
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...table.tBodies[0].rows];
  if (table.classList.contains('cards')) {
    for (const row of rows) {
      heads.slice(1).forEach((head, number) => {
        row.cells[number + 1].dataset.h = head.textContent;
      });
    }
  }
  if (rows.length > 1) {
    heads.forEach((head, number) => {
      if (!head.textContent) return;
      const button = document.createElement('button');
      button.type = 'button';
      button.append(...head.childNodes);
      button.addEventListener('click', () => sort(table, number));
      head.append(button);
    });
  }
  if (rows.length > 3) addFilter(table);
}
document.documentElement.classList.add('ready');
