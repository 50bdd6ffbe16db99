
'use strict';
const MOST_ROWS = 100; // More at once make sorting slow; a button, a printer and the filter reach all.
const order = new Intl.Collator(undefined, { numeric: true });

class Sheet {
  constructor(table) {
    this.table = table;
    this.heads = [...table.tHead.rows[0].cells];
    this.rows = [...table.tBodies[0].rows];
    this.most = MOST_ROWS;
    this.words = [];
    if (table.classList.contains('cards')) this.nameCells();
    if (this.rows.length > 1) this.heads.forEach((head, column) => this.addSorting(head, column));
    if (this.rows.length > 3) this.addFilter();
    if (this.rows.length > this.most) this.draw();
  }

  nameCells() {
    // A text that begins a row is its title; a figure needs its heading.
    const first = this.heads[0].classList.contains('n') ? 0 : 1;
    for (const row of this.rows) {
      for (let n = first; n < row.cells.length; n++) row.cells[n].dataset.h = this.heads[n].textContent;
    }
  }

  addSorting(head, column) {
    if (!head.textContent) return;
    const button = document.createElement('button');
    button.type = 'button';
    button.append(...head.childNodes);
    button.addEventListener('click', () => this.sort(column));
    head.append(button);
  }

  sort(column) {
    const head = this.heads[column];
    const isDown = head.getAttribute('aria-sort') === 'ascending';
    for (const each of this.heads) each.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', isDown ? 'descending' : 'ascending');
    const isFigure = head.classList.contains('n');
    const keyed = this.rows.map((row) => {
      const cell = row.cells[column];
      const text = cell.dataset.v ?? cell.textContent;
      const key = isFigure ? Number(text) : text;
      return { row, key, isUnknown: text === '' || text === '—' || Number.isNaN(key) };
    });
    keyed.sort((a, b) => {
      // What is not known comes last either way.
      if (a.isUnknown || b.isUnknown) return a.isUnknown - b.isUnknown;
      const apart = isFigure ? a.key - b.key : order.compare(a.key, b.key);
      return isDown ? -apart : apart;
    });
    this.rows = keyed.map((each) => each.row);
    this.draw();
    this.table.tBodies[0].append(...this.rows);
  }

  addFilter() {
    this.texts = new Map(this.rows.map((row) => [row, row.textContent.toLowerCase()]));
    const bar = document.createElement('div');
    const label = document.createElement('label');
    const field = document.createElement('input');
    this.count = document.createElement('span');
    this.button = document.createElement('button');
    bar.className = 'filter';
    this.count.className = 'count';
    this.count.setAttribute('aria-live', 'polite');
    field.type = 'search';
    this.button.type = 'button';
    this.button.textContent = 'Show all';
    this.button.hidden = true;
    label.append('Filter rows', field);
    bar.append(label, this.count, this.button);
    field.addEventListener('input', () => {
      this.words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      this.draw();
    });
    this.button.addEventListener('click', () => this.showAll());
    this.table.parentElement.before(bar);
  }

  showAll() {
    this.most = Infinity;
    this.draw();
  }

  draw() {
    let found = 0;
    for (const row of this.rows) {
      const isFound = this.words.every((word) => this.texts.get(row).includes(word));
      found += isFound;
      row.hidden = !isFound || found > this.most;
    }
    if (!this.count) return;
    const shown = Math.min(found, this.most);
    const whole = found > shown ? found : this.rows.length;
    this.count.textContent = shown < whole ? `${shown} of ${whole} rows` : '';
    this.button.hidden = found <= shown;
  }
}

const sheets = [...document.querySelectorAll('table')].map((table) => new Sheet(table));
addEventListener('beforeprint', () => sheets.forEach((sheet) => sheet.showAll()));
document.documentElement.classList.add('ready');
