import { parseArgs } from 'node:util';
import { milliseconds } from '../../core/duration.js';
import { OptionError } from '../../core/option.js';
import { generateApiKey } from './generate.js';

/** What a run of the command came to. */
export interface CommandResult {
  readonly exitCode: 0 | 2;
  readonly stdout: string;
  readonly stderr: string;
}

export const KEYGEN_HELP = `Usage: gatewarden keygen [options]

Makes an API key. Prints two lines: the key, which is shown this once, and the record to store, as JSON.

  --client <id>       the client that gets the key; default a new id
  --name <text>       a name for people
  --scope <scope>     a scope that the key grants; may stand several times
  --expires <length>  how long the key is good, such as 90d or 12h; default for ever
  --prefix <text>     what the key begins with; default gk_live_
  --help              prints this

Environment:
  GATEWARDEN_PEPPER   the pepper of the apiKeys that gets the record, if it has one: 32 characters or more

Example, the record to a file and the key on to another command:
  npx gatewarden keygen --client acme --expires 90d | { IFS= read -r key; cat > acme.json; printf %s "$key" | pass insert -e acme; }
`;

const OPTIONS = {
  client: { type: 'string', multiple: true },
  name: { type: 'string', multiple: true },
  scope: { type: 'string', multiple: true },
  expires: { type: 'string', multiple: true },
  prefix: { type: 'string', multiple: true },
  help: { type: 'boolean' },
} as const;

/** A hundred years. */
const LONGEST = 3_153_600_000_000;

/** What options are called on the command line. */
const ARGUMENTS: ReadonlyMap<string, string> = new Map([
  ['clientId', '--client'],
  ['name', '--name'],
  ['scopes', '--scope'],
  ['expiresAt', '--expires'],
  ['prefix', '--prefix'],
  ['pepper', 'GATEWARDEN_PEPPER'],
]);

/** `gatewarden keygen`: bad arguments are exit code 2 and a line that says which. */
export function keygen(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  now: () => number = Date.now,
): CommandResult {
  try {
    const { values } = parseArgs({ args: [...args], options: OPTIONS });
    if (values.help === true) return { exitCode: 0, stdout: KEYGEN_HELP, stderr: '' };
    const clientId = once('client', values.client);
    const name = once('name', values.name);
    const expires = once('expires', values.expires);
    const prefix = once('prefix', values.prefix);
    // An empty one is no pepper: whoever sets it means to have one.
    const pepper = env.GATEWARDEN_PEPPER;
    const at = now();
    const { key, record } = generateApiKey({
      ...(clientId === undefined ? {} : { clientId }),
      ...(name === undefined ? {} : { name }),
      ...(expires === undefined ? {} : { expiresAt: at + milliseconds('keygen', '--expires', expires, LONGEST) }),
      ...(prefix === undefined ? {} : { prefix }),
      ...(pepper === undefined ? {} : { pepper }),
      scopes: values.scope ?? [],
      now: () => at,
    });
    return { exitCode: 0, stdout: `${key}\n${JSON.stringify(record)}\n`, stderr: '' };
  } catch (error) {
    // Both parseArgs and options that cannot be used throw TypeErrors. No secret is an argument.
    if (!(error instanceof TypeError)) throw error;
    const said = error.message
      .replace(/^gatewarden: \w+ "([\w-]+)"/, (_start, option: string) => ARGUMENTS.get(option) ?? option)
      .replace(/\s*\n\s*/g, ' ');
    return { exitCode: 2, stdout: '', stderr: `gatewarden keygen: ${said}\nSee gatewarden keygen --help.\n` };
  }
}

function once(name: string, values: readonly string[] | undefined): string | undefined {
  if (values !== undefined && values.length > 1) throw new OptionError(`--${name} must stand only once`);
  return values?.[0];
}
