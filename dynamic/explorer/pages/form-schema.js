// Functions for messages in protobuf's JSON mapping. They use the schema from
// /api/services/{name}/schema. Nothing here needs a browser, so that it can be tested separately.

const int32Types = new Set(['int32', 'sint32', 'uint32', 'fixed32', 'sfixed32']);
const int64Types = new Set(['int64', 'sint64', 'uint64', 'fixed64', 'sfixed64']);
const floatTypes = new Set(['float', 'double']);

// Well-known messages whose JSON is not an object with their fields.
const wellKnownForms = {
  'google.protobuf.Timestamp': 'timestamp',
  'google.protobuf.Duration': 'duration',
  'google.protobuf.FieldMask': 'mask',
  'google.protobuf.Struct': 'json',
  'google.protobuf.Value': 'json',
  'google.protobuf.ListValue': 'json',
  'google.protobuf.Any': 'any',
  'google.protobuf.BoolValue': 'bool',
  'google.protobuf.StringValue': 'string',
  'google.protobuf.BytesValue': 'bytes',
  'google.protobuf.Int32Value': 'int32',
  'google.protobuf.UInt32Value': 'uint32',
  'google.protobuf.Int64Value': 'int64',
  'google.protobuf.UInt64Value': 'uint64',
  'google.protobuf.FloatValue': 'float',
  'google.protobuf.DoubleValue': 'double',
};

// wellKnownForm returns the JSON form of a well-known message type, or undefined.
export const wellKnownForm = (name) => wellKnownForms[name];

// controlOf returns the kind of control that edits a single value of a field. It is the name of a
// scalar type, "enum", "message", or the JSON form of a well-known message.
export function controlOf(field) {
  if (field.message) return wellKnownForm(field.message) ?? 'message';
  if (field.enum) return field.enum === 'google.protobuf.NullValue' ? 'json' : 'enum';
  return field.type;
}

// hasPresence reports whether a field can be unset, which differs from being set to its default.
export function hasPresence(field) {
  return !field.repeated && !field.map && Boolean(field.optional || field.oneof || field.message);
}

// elementOf returns a field that describes one element of a repeated field, or one value of a map.
export function elementOf(field) {
  if (!field.map) return { ...field, repeated: false };
  const value = typeof field.map.value === 'string' ? { type: field.map.value } : field.map.value;
  return { message: field.message, enum: field.enum, ...value, name: field.name, jsonName: field.jsonName };
}

// keyTypeOf returns the type of the keys of a map.
export function keyTypeOf(field) {
  return typeof field.map.key === 'string' ? field.map.key : field.map.key.type;
}

// typeText describes the type of a field as in a .proto file.
export function typeText(field) {
  if (field.map) return `map<${keyTypeOf(field)}, ${typeText(elementOf(field))}>`;
  const name = (field.message || field.enum || field.type).split('.').pop();
  return field.repeated ? `repeated ${name}` : name;
}

// initialValue returns the value of a newly added field. For an enum, it is the first value; for a
// message, the empty message.
export function initialValue(schema, field) {
  const control = controlOf(field);
  switch (control) {
    case 'message': case 'any': return {};
    case 'enum': return schema.enums[field.enum]?.[0]?.name ?? 0;
    case 'bool': return false;
    case 'timestamp': return new Date(0).toISOString();
    case 'duration': return '0s';
    case 'json': return emptyJSON(field);
    case 'string': case 'bytes': case 'mask': return '';
    default: return int64Types.has(control) ? '0' : 0;
  }
}

function emptyJSON(field) {
  if (field.message === 'google.protobuf.Struct') return {};
  return field.message === 'google.protobuf.ListValue' ? [] : null;
}

// valueOf returns the value of a field in an object. Objects may use the name of the field in the
// .proto file or its JSON name.
export function valueOf(object, field) {
  // Every object inherits members such as "constructor", which may also be the name of a field.
  const own = (key) => (Object.hasOwn(object, key) ? object[key] : undefined);
  return own(field.jsonName) ?? own(field.name);
}

// setValue sets the value of a field in an object, or removes it if value is undefined.
export function setValue(object, field, value) {
  if (field.name !== field.jsonName) delete object[field.name];
  if (value === undefined) delete object[field.jsonName];
  else object[field.jsonName] = value;
}

// skeleton returns a message with every field set, for the user to edit. It sets only the first
// field of a oneof. Nested messages end at the given depth.
export function skeleton(schema, name, depth = 3) {
  const object = {};
  const oneofs = new Set();
  for (const field of schema.messages[name]?.fields ?? []) {
    if (field.oneof && oneofs.has(field.oneof)) continue;
    if (field.oneof) oneofs.add(field.oneof);
    const element = elementOf(field);
    const nested = controlOf(element) === 'message';
    if (nested && depth <= 1) continue;
    const value = nested ? skeleton(schema, element.message, depth - 1) : initialValue(schema, element);
    if (field.map) object[field.jsonName] = { [keyTypeOf(field) === 'string' ? 'key' : initialKey(field)]: value };
    else object[field.jsonName] = field.repeated ? [value] : value;
  }
  return object;
}

const initialKey = (field) => (keyTypeOf(field) === 'bool' ? 'false' : '0');

// parseScalar converts the text that a user has typed to the JSON value of a scalar. If the text is
// invalid, it throws an Error with a message for the user.
export function parseScalar(type, text) {
  if (type === 'string') return text;
  const trimmed = text.trim();
  if (type === 'bytes') {
    if (!isBase64(trimmed)) throw new Error('must be Base64');
    return trimmed;
  }
  if (type === 'mask') return trimmed.replaceAll(/\s*,\s*/g, ',');
  if (int32Types.has(type) || int64Types.has(type)) return parseInteger(type, trimmed);
  if (floatTypes.has(type)) {
    if (['NaN', 'Infinity', '-Infinity'].includes(trimmed)) return trimmed;
    if (trimmed === '' || Number.isNaN(Number(trimmed))) throw new Error('must be a number, NaN or Infinity');
    return Number(trimmed);
  }
  return trimmed;
}

// parseInteger returns a number for 32-bit types. For 64-bit types, it returns a string of digits,
// as in protobuf's JSON mapping, because a number would lose digits.
function parseInteger(type, text) {
  const bits = type.endsWith('64') ? 64n : 32n;
  const unsigned = type.startsWith('u') || type.startsWith('fixed');
  if (!/^[+-]?\d+$/.test(text)) throw new Error('must be a whole number');
  const value = BigInt(text.replace('+', ''));
  const [low, high] = unsigned ? [0n, (1n << bits) - 1n] : [-(1n << (bits - 1n)), (1n << (bits - 1n)) - 1n];
  if (value < low || value > high) throw new Error(`must be between ${low} and ${high}`);
  return bits === 64n ? String(value) : Number(value);
}

const isBase64 = (text) => /^[A-Za-z0-9+/_-]*={0,2}$/.test(text) && text.replaceAll('=', '').length % 4 !== 1;

// parseDuration converts "1.5s", "250ms", "2m" and the like to protobuf's JSON for durations, such
// as "120s".
export function parseDuration(text) {
  const match = /^(-?\d+(?:\.\d+)?)\s*(ns|us|µs|ms|s|m|h|)$/.exec(text.trim());
  if (!match) throw new Error('must be a duration such as 1.5s, 250ms or 2m');
  const factor = { ns: 1e-9, us: 1e-6, µs: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600, '': 1 }[match[2]];
  if (factor === 1) return `${match[1]}s`;
  return `${Number((Number(match[1]) * factor).toFixed(9))}s`;
}

// parseTimestamp converts a date and time to RFC 3339.
export function parseTimestamp(text) {
  const trimmed = text.trim();
  const zoned = /(?:Z|[+-]\d\d:\d\d)$/i.test(trimmed) ? trimmed : `${trimmed.replace(' ', 'T')}Z`;
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/i.test(zoned) || Number.isNaN(Date.parse(zoned))) {
    throw new Error('must be a time such as 2026-01-31T12:00:00Z');
  }
  return zoned.replace(/T(\d\d:\d\d)(?=[Z+-])/i, 'T$1:00');
}

// check returns at most 20 problems of the JSON of a message, as a list of {path, text}. Unknown
// fields are problems, with a suggestion of a similar field.
export function check(schema, name, value) {
  const problems = [];
  checkMessage(schema, name, value, '', problems);
  return problems.slice(0, 20);
}

function checkMessage(schema, name, value, path, problems) {
  const form = wellKnownForm(name);
  if (form) {
    checkValue(schema, { message: name, type: 'message' }, value, path, problems);
    return;
  }
  const type = schema.messages[name];
  if (!type || problems.length >= 20) return;
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    problems.push({ path, text: `must be an object: a ${name}` });
    return;
  }
  for (const [key, item] of Object.entries(value)) {
    if (key.startsWith('@') || key.startsWith('[')) continue;
    const at = path ? `${path}.${key}` : key;
    const field = type.fields.find((f) => f.jsonName === key || f.name === key);
    if (!field) {
      problems.push({ path: at, text: `${name} has no such field${suggestion(key, type.fields)}` });
    } else if (item !== null) {
      checkField(schema, field, item, at, problems);
    }
  }
  checkOneofs(type, value, path, problems);
}

function checkOneofs(type, value, path, problems) {
  const set = {};
  for (const field of type.fields) {
    if (field.oneof && valueOf(value, field) != null) (set[field.oneof] ??= []).push(field.jsonName);
  }
  for (const [oneof, names] of Object.entries(set)) {
    if (names.length > 1) problems.push({ path, text: `only one of ${names.join(', ')} may be set: they are the oneof ${oneof}` });
  }
}

function checkField(schema, field, value, path, problems) {
  const element = elementOf(field);
  if (field.map) {
    if (typeof value !== 'object' || Array.isArray(value)) problems.push({ path, text: 'must be an object: it is a map' });
    else for (const [key, item] of Object.entries(value)) checkValue(schema, element, item, `${path}[${JSON.stringify(key)}]`, problems);
  } else if (field.repeated) {
    if (!Array.isArray(value)) problems.push({ path, text: 'must be an array: the field is repeated' });
    else value.forEach((item, i) => checkValue(schema, element, item, `${path}[${i}]`, problems));
  } else {
    checkValue(schema, element, value, path, problems);
  }
}

function checkValue(schema, field, value, path, problems) {
  const text = valueProblem(schema, field, value);
  if (text) problems.push({ path, text });
  else if (controlOf(field) === 'message') checkMessage(schema, field.message, value, path, problems);
  else if (controlOf(field) === 'any') checkAny(schema, value, path, problems);
}

function checkAny(schema, value, path, problems) {
  const name = anyType(value);
  if (name && !wellKnownForm(name)) checkMessage(schema, name, value, path, problems);
}

// anyType returns the name of the message in the JSON form of an Any, or an empty string.
export function anyType(value) {
  return String(value?.['@type'] ?? '').split('/').pop();
}

// valueProblem returns the problem of one value, or an empty string.
function valueProblem(schema, field, value) {
  const control = controlOf(field);
  switch (control) {
    case 'json': return '';
    case 'message': return ''; // checkMessage reports the problems
    case 'any':
      if (value === null || typeof value !== 'object') return 'must be an object with "@type"';
      return Object.keys(value).length && !value['@type'] ? 'must have "@type"' : '';
    case 'bool': return typeof value === 'boolean' ? '' : 'must be true or false';
    case 'enum': return enumProblem(schema.enums[field.enum], value);
    case 'string': case 'mask': return typeof value === 'string' ? '' : 'must be a string';
    default: return parsedProblem(control, value);
  }
}

function enumProblem(values, value) {
  if (typeof value === 'number' || !values || values.some((v) => v.name === value)) return '';
  return `is not a value of the enum${suggestion(String(value), values)}`;
}

function parsedProblem(control, value) {
  const isNumber = int32Types.has(control) || int64Types.has(control) || floatTypes.has(control);
  if (typeof value !== 'string' && !(isNumber && typeof value === 'number')) {
    return isNumber ? 'must be a number' : 'must be a string';
  }
  try {
    if (control === 'timestamp') parseTimestamp(value);
    else if (control === 'duration') parseDuration(value);
    else if (typeof value === 'string' || !int64Types.has(control)) parseScalar(control, String(value));
    return '';
  } catch (error) {
    return error.message;
  }
}

// suggestion returns a text with the candidate that is most similar to name, or an empty string.
function suggestion(name, candidates) {
  let best = '';
  let least = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const { name: original, jsonName } of candidates) {
    const candidate = jsonName ?? original;
    const d = distance(name.toLowerCase(), candidate.toLowerCase());
    if (d < least) [best, least] = [candidate, d];
  }
  return best ? `; did you mean ${best}?` : '';
}

// distance returns the Levenshtein distance of two words.
function distance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}

// redacted returns a copy of a message in which fields that the schema marks as secret have the
// value "[redacted]".
export function redacted(schema, name, value) {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
  const type = schema.messages[name === 'google.protobuf.Any' ? anyType(value) : name];
  if (!type || wellKnownForm(name) === 'json') return value;
  const copy = { ...value };
  for (const field of type.fields) {
    for (const key of new Set([field.jsonName, field.name])) {
      if (copy[key] != null) copy[key] = redactedField(schema, field, copy[key]);
    }
  }
  return copy;
}

function redactedField(schema, field, value) {
  if (field.redact) return '[redacted]';
  const { message } = elementOf(field);
  if (!message) return value;
  if (Array.isArray(value)) return value.map((item) => redacted(schema, message, item));
  if (!field.map) return redacted(schema, message, value);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, redacted(schema, message, item)]));
}
