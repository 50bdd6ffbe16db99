
'use strict';
const MOST_ROWS = 100; // More at once make sorting slow; a button, a printer and the filter reach all.
const texts = new Intl.Collator(undefined, { numeric: true });

// --- tables ------------------------------------------------------------------------------------

// What is not known comes last either way.
const isUnknown = (value) => value === '' || value === '—';
const compare = (a, b, sign, apart) => {
  if (isUnknown(a) || isUnknown(b)) return isUnknown(a) - isUnknown(b);
  return sign * apart(a, b);
};

function defineOrders() {
  const figures = (a, b) => a - b;
  const order = (apart) => ({
    asc: (a, b) => compare(a, b, 1, apart),
    desc: (a, b) => compare(a, b, -1, apart),
  });
  // A figure's cell has its value in base units.
  DataTable.type('figure', { detect: () => false, order: order(figures) });
  DataTable.type('text', { detect: () => false, order: order(texts.compare) });
}

function nameCells(table, heads) {
  // A text that begins a row is its title; a figure needs its heading.
  const first = heads[0].classList.contains('n') ? 0 : 1;
  for (const row of table.tBodies[0].rows) {
    for (let n = first; n < row.cells.length; n++) row.cells[n].dataset.h = heads[n].textContent;
  }
}

function fillUnknown(table, heads) {
  for (const row of table.tBodies[0].rows) {
    for (let n = 0; n < row.cells.length; n++) {
      const cell = row.cells[n];
      const text = cell.textContent.trim();
      const isFigure = heads[n].classList.contains('n');
      const value = cell.dataset.v ?? (isFigure && Number.isNaN(Number(text)) ? '' : text);
      cell.dataset.order = value;
    }
  }
}

const tables = [];

function enhance(table) {
  const heads = [...table.tHead.rows[0].cells];
  const count = table.tBodies[0].rows.length;
  if (table.classList.contains('cards')) nameCells(table, heads);
  if (count < 2) return;
  fillUnknown(table, heads);
  const outer = table.parentElement;
  tables.push(new DataTable(table, {
    autoWidth: false,
    order: [],
    orderClasses: false,
    paging: count > MOST_ROWS,
    pageLength: MOST_ROWS,
    lengthMenu: [MOST_ROWS, { label: 'all', value: -1 }],
    searching: count > 3,
    info: count > 3,
    layout: {
      topStart: count > 3 ? ['search', 'info'] : null,
      topEnd: null,
      bottomStart: count > MOST_ROWS ? ['pageLength', 'paging'] : null,
      bottomEnd: null,
    },
    language: {
      search: 'Filter rows', info: '_START_ to _END_ of _TOTAL_ rows', infoEmpty: 'no row',
      infoFiltered: 'that match, of _MAX_', lengthMenu: 'Rows a page _MENU_',
      zeroRecords: 'No row has every word.',
    },
    columns: heads.map((head) => ({
      type: head.classList.contains('n') ? 'figure' : 'text',
      orderable: head.textContent !== '',
    })),
  }));
  // The rows scroll sideways alone, and the filter stays.
  const inner = table.parentElement;
  for (const name of ['tabindex', 'role', 'aria-label']) {
    inner.setAttribute(name, outer.getAttribute(name));
    outer.removeAttribute(name);
  }
  inner.classList.add('scroll');
  outer.classList.remove('scroll');
}

function enhanceTables() {
  defineOrders();
  for (const table of document.querySelectorAll('table')) {
    const details = table.closest('details');
    if (!details) enhance(table);
    else details.addEventListener('toggle', () => enhance(table), { once: true });
  }
  addEventListener('beforeprint', () => tables.forEach((table) => table.page.len(-1).draw()));
}

// --- charts ------------------------------------------------------------------------------------

async function drawCharts() {
  for (const figure of document.querySelectorAll('figure')) {
    const spec = JSON.parse(figure.querySelector('script').textContent);
    spec.autosize = { type: 'fit-x', contains: 'padding' };
    // `ast`: expressions are interpreted, because the policy forbids to compile a text.
    const options = { actions: false, ast: true, mode: 'vega-lite', renderer: 'svg' };
    await vegaEmbed(figure.querySelector('.chart'), spec, options);
  }
}

// --- libraries ---------------------------------------------------------------------------------

async function start(packed) {
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  const script = document.createElement('script');
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}

async function main() {
  for (const each of document.querySelectorAll('script.library')) {
    await start(each.textContent);
    each.remove();
  }
  if (self.DataTable) enhanceTables();
  document.documentElement.classList.add('ready');
  if (self.vegaEmbed) await drawCharts();
  document.documentElement.dataset.ready = '';
}

main();
