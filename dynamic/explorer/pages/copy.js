// The call as text for other tools: psrpc, curl, grpcurl and Go. method has the fields fullName and
// kind. input is {text, topic, metadata, timeout, select: {first, min, max}, expect}; all but text
// may be missing. Options that a method of this kind does not use must be missing.

// quote returns text as one word for a POSIX shell.
export function quote(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${String(text).replaceAll("'", `'\\''`)}'`;
}

// goQuote returns text as a string literal of Go.
function goQuote(text) {
  return text.includes('`') || text.includes('\r') ? JSON.stringify(text) : `\`${text}\``;
}

// csv returns a part of a topic for the flag -t of psrpc, whose value is a line of CSV.
const csv = (part) => (/[",\r\n]/.test(part) ? `"${part.replaceAll('"', '""')}"` : part);

const topicHeader = (topic) => topic.map(encodeURIComponent).join('/');

// selectHeader returns the header Psrpc-Select of a selection, or an empty string.
export function selectHeader({ first, min, max }) {
  return [first && 'first', min && `min=${min}`, max && `max=${max}`].filter(Boolean).join(';');
}

// headers returns the HTTP headers of a call, as a list of [name, value].
export function headers(input) {
  const list = [];
  if (input.topic?.length) list.push(['Psrpc-Topic', topicHeader(input.topic)]);
  if (input.expect) list.push(['Psrpc-Expect', String(input.expect)]);
  const selection = selectHeader(input.select ?? {});
  if (selection) list.push(['Psrpc-Select', selection]);
  if (input.timeout) list.push(['Connect-Timeout-Ms', String(Math.max(1, Math.round(input.timeout * 1000)))]);
  for (const [key, value] of input.metadata ?? []) list.push([`Psrpc-Meta-${key}`, value]);
  return list;
}

// compact returns JSON without spaces, or the text itself if it is not JSON. It does not encode
// parsed JSON, because numbers would lose digits.
function compact(text) {
  try {
    JSON.parse(text);
  } catch {
    return text.trim();
  }
  return text.replaceAll(/("(?:[^"\\]|\\.)*")|\s+/g, (part, string) => string ?? '');
}

const hasRequest = (input) => compact(input.text) !== '{}';

// asPsrpc returns the call as a command line of psrpc. bus is the field bus of /api/session.
export function asPsrpc(method, input, bus, prefix) {
  const words = ['psrpc', method.kind === 'subscription' ? 'subscribe' : 'call'];
  if (bus?.address) words.push('--bus', quote(bus.address.includes('://') ? bus.address : `${bus.kind}://${bus.address}`));
  if (prefix) words.push('--prefix', quote(prefix));
  words.push(method.fullName);
  if (input.topic?.length) words.push('-t', quote(input.topic.map(csv).join(',')));
  if (method.kind === 'subscription') return words.join(' ');
  for (const [key, value] of input.metadata ?? []) words.push('-H', quote(`${key}:${value}`));
  if (input.timeout) words.push('--timeout', `${input.timeout}s`);
  const { first, min, max } = input.select ?? {};
  if (first) words.push('--first');
  if (min) words.push('--min', String(min));
  if (max) words.push('--max', String(max));
  if (input.expect) words.push('--expect', String(input.expect));
  if (hasRequest(input) || method.kind === 'stream') words.push(quote(compact(input.text)));
  return words.join(' ');
}

// asCurl returns the call as a command line of curl. base is the URL of the gateway.
export function asCurl(method, input, base) {
  const lines = [`curl -H 'Content-Type: application/json'`];
  if (method.kind !== 'single') lines.push(`-N -H 'Accept: text/event-stream'`);
  for (const [name, value] of headers(input)) lines.push(`-H ${quote(`${name}: ${value}`)}`);
  lines.push(`-d ${quote(compact(input.text) || '{}')}`, quote(`${base}/${method.fullName}`));
  return lines.join(' \\\n  ');
}

// asGrpcurl returns the call as a command line of grpcurl.
export function asGrpcurl(method, input, base) {
  const url = new URL(base);
  const lines = ['grpcurl' + (url.protocol === 'https:' ? '' : ' -plaintext')];
  if (input.timeout) lines.push(`-max-time ${input.timeout}`);
  for (const [name, value] of headers(input)) {
    if (name !== 'Connect-Timeout-Ms') lines.push(`-H ${quote(`${name}: ${value}`)}`);
  }
  if (hasRequest(input)) lines.push(`-d ${quote(compact(input.text))}`);
  lines.push(`${url.host} ${method.fullName}`);
  return lines.join(' \\\n  ');
}

// asGo returns the call as Go code with the package dynamic.
export function asGo(method, input) {
  const name = JSON.stringify(method.fullName);
  const request = hasRequest(input) ? `json.RawMessage(${goQuote(compact(input.text))})` : 'nil';
  const options = goOptions(method, input).map((option) => `,\n\t${option}`).join('');
  const end = options ? ',\n)' : ')';
  switch (method.kind) {
    case 'multi': return `responses, err := dynamic.InvokeMulti(ctx, conn, ${name}, ${request}${options}${end}
if err != nil {
	return err
}
for response := range responses {
	fmt.Println(response.ServerID, response.Result, response.Err)
}
`;
    case 'stream': return `stream, err := dynamic.InvokeStream(ctx, conn, ${name}${options}${end}
if err != nil {
	return err
}
defer stream.Close(nil)
if err := stream.Send(${request}); err != nil {
	return err
}
for message := range stream.Channel() {
	fmt.Println(message)
}
`;
    case 'subscription': return `subscription, err := dynamic.InvokeSubscribe(ctx, conn, ${name}${options}${end}
if err != nil {
	return err
}
defer subscription.Close()
for update := range subscription.Channel() {
	fmt.Println(update)
}
`;
    default: return `response, err := dynamic.Invoke(ctx, conn, ${name}, ${request}${options}${end}
if err != nil {
	return err
}
fmt.Println(response)
`;
  }
}

function goOptions(method, input) {
  const options = [];
  if (input.topic?.length) options.push(`dynamic.WithTopic(${input.topic.map((part) => JSON.stringify(part)).join(', ')})`);
  if (method.kind === 'subscription') return options;
  if (input.timeout) options.push(`dynamic.WithRequestTimeout(${Math.round(input.timeout * 1000)}*time.Millisecond)`);
  if (input.expect) options.push(`dynamic.WithExpectedResponses(${input.expect})`);
  const { first, min, max } = input.select ?? {};
  const fields = [first && 'AcceptFirstAvailable: true', min && `MinimumAffinity: ${min}`, max && `MaximumAffinity: ${max}`].filter(Boolean);
  if (fields.length) options.push(`dynamic.WithSelectionOpts(dynamic.SelectionOpts{${fields.join(', ')}})`);
  if (input.metadata?.length) {
    const pairs = input.metadata.map(([key, value]) => `${JSON.stringify(key)}: ${JSON.stringify(value)}`).join(', ');
    options.push(`dynamic.WithMetadata(map[string]string{${pairs}})`);
  }
  return options;
}
