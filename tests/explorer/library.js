// Checks of the modules that all pages share. The value of this expression is a list of what is wrong.
(async () => {
	const module = (name) => import(new URL(`assets/lib/${name}.js`, document.baseURI));
	const { html, render, svg } = await module('html');
	const format = await module('format');
	const { merged, quantile } = await module('chart');
	await module('table');
	const failures = [];
	const equal = (what, got, want) => {
		if (JSON.stringify(got) !== JSON.stringify(want)) failures.push(`${what}: ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
	};
	const settled = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
	const root = document.createElement('div');
	document.querySelector('main').append(root);

	// Values are text, whatever they contain.
	const evil = `<img src=x onerror="globalThis.hacked = true">"'<script>globalThis.hacked = true</script>`;
	render(html`<p title=${evil} class="a ${evil}">${evil}</p><svg><title>${evil}</title></svg>`, root);
	equal('text', root.querySelector('p').textContent, evil);
	equal('an attribute', root.querySelector('p').title, evil);
	equal('a part of an attribute', root.querySelector('p').className, `a ${evil}`);
	equal('elements', [...root.querySelectorAll('*')].map((element) => element.localName), ['p', 'svg', 'title']);

	// The same template changes only what differs.
	const clicks = [];
	const show = (n, items) => render(html`<ul ?hidden=${n > 1} data-n=${n > 1 ? null : n} style=${{ width: `${n}px` }}>${items}</ul>
		<input .value=${`text ${n}`}><button @click=${() => clicks.push(n)}>go</button>`, root);
	show(1, ['a', html`<li>b</li>`, 3, null, [true, 'c']]);
	const [list, input] = [root.querySelector('ul'), root.querySelector('input')];
	equal('content', list.textContent, 'ab3c');
	equal('attributes', [list.hidden, list.dataset.n, list.style.width], [false, '1', '1px']);
	input.focus();
	show(2, [html`<li>d</li>`]);
	equal('the elements stay', [root.querySelector('ul') === list, document.activeElement === input], [true, true]);
	equal('content that has changed', [list.textContent, list.children.length, input.value], ['d', 1, 'text 2']);
	equal('attributes that have changed', [list.hidden, 'n' in list.dataset, list.style.width], [true, false, '2px']);
	root.querySelector('button').click();
	equal('only the last listener is called', clicks, [2]);
	render(html`<svg>${[1, 2].map((x) => svg`<rect x=${x}></rect>`)}</svg>`, root);
	equal('SVG', [...root.querySelectorAll('rect')].map((rect) => rect instanceof SVGRectElement && rect.getAttribute('x')), ['1', '2']);

	// Numbers for people.
	equal('durations', [0, 0.000085, 0.00125, 3, 125, 12000, null].map((value) => format.duration(value).replaceAll('\u00a0', ' ')),
		['0', '85 µs', '1.25 ms', '3 s', '2 min 5 s', '3 h 20 min', '–']);
	equal('counts', [0, 999, 999.6, 12345, undefined].map((value) => format.count(value).replace('\u00a0', ' ')), ['0', '999', '1 k', '12.3 k', '–']);
	equal('fractions', [0, 0.00001, 0.0042, 0.35, 1].map((value) => format.percent(value).replace('\u00a0', ' ')),
		['0 %', '<0.01 %', '0.42 %', '35 %', '100 %']);
	equal('sizes', [512, 1536].map((value) => format.bytes(value).replace('\u00a0', ' ')), ['512 B', '1.50 KiB']);
	const durations = merged([[[0.001, 98], [0.002, 1]], [[0.002, 1]]]);
	equal('histograms', [durations, quantile([], 0.5)], [[[0.001, 98], [0.002, 2]], null]);
	equal('a quantile', quantile(durations, 0.99) > 0.0018 && quantile(durations, 0.5) < 0.001, true);

	// A table shows few of its rows, but all can be reached, sorted and found.
	const table = document.createElement('x-table');
	table.columns = [
		{ title: 'Name', value: ({ id }) => id },
		{ title: 'Size', value: ({ size }) => size, end: true, width: '6rem', down: true },
	];
	table.href = ({ id }) => `#/server/${id}`;
	table.filterLabel = 'Filter rows';
	table.rows = Array.from({ length: 5000 }, (_, i) => ({ id: `row-${i}`, size: i % 2 ? i : null }));
	render(table, root);
	await settled();
	const rows = () => [...table.querySelectorAll('tr[data-key]')];
	const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
	equal('few rows are in the document', rows().length > 10 && rows().length < 100, true);
	table.querySelector('tr[tabindex="0"]').focus();
	press('End');
	await settled();
	equal('the last row', [document.activeElement.dataset.key, document.activeElement.ariaRowIndex], ['row-4999', '5001']);
	press('Home');
	press('ArrowDown');
	await settled();
	equal('the second row', document.activeElement.dataset.key, 'row-1');
	table.querySelectorAll('thead button')[1].click();
	equal('sorted downwards', rows().slice(0, 2).map((row) => row.dataset.key), ['row-4999', 'row-4997']);
	equal('the focus follows its row, or stays in the table', table.contains(document.activeElement), true);
	table.querySelectorAll('thead button')[1].click();
	equal('unknown values come last', [rows()[0].dataset.key, table.querySelectorAll('th')[1].ariaSort], ['row-1', 'ascending']);
	table.filter = 'row-12 -row-123';
	equal('found', table.querySelector('[role=status]').textContent.replace('\u202f', ''), '100 of 5000');
	table.filter = 'nothing';
	equal('nothing found', table.querySelector('.empty').textContent.includes('Clear the filter'), true);
	root.remove();
	equal('nothing of the values has run', globalThis.hacked, undefined);
	return failures;
})()
