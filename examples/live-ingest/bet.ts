import { z } from 'zod';

const text = (max: number) => z.string().min(1).max(max);

/** One bet as a sender reports it. Unknown members are refused, so that a misspelt member is not lost silently. */
export const Bet = z.strictObject({
  id: text(200),
  /** ISO 8601. The time of arrival by default. */
  dateTime: z.iso.datetime({ offset: true, local: true }).optional(),
  nonce: z.int().min(1),
  amount: z.number().min(0),
  payout: z.number().min(0),
  difficulty: z.enum(['easy', 'medium', 'hard', 'expert']),
  roundTarget: z.number().gt(0).optional(),
  roundResult: z.number().min(0),
  clientSeed: text(200),
  serverSeedHashed: text(200),
});
export type Bet = z.infer<typeof Bet>;

/** A mistake in FastAPI's form: clients of this service read `detail[].loc` and `detail[].msg`. */
export interface Mistake {
  readonly type: string;
  readonly loc: readonly (string | number)[];
  readonly msg: string;
}

/** Reads the bet in a request's body. Returns the bet, or all mistakes in it. */
export function readBet(body: string): { readonly bet: Bet } | { readonly mistakes: readonly Mistake[] } {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return { mistakes: [{ type: 'json_invalid', loc: ['body'], msg: 'The body must be one JSON object.' }] };
  }
  const parsed = Bet.safeParse(value, { reportInput: true });
  if (parsed.success) return { bet: parsed.data };
  return {
    mistakes: parsed.error.issues.flatMap((issue): Mistake[] => {
      const loc = ['body', ...issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step))];
      if (issue.code === 'unrecognized_keys') {
        return issue.keys.map((key) => ({
          type: 'extra_forbidden',
          loc: [...loc, key],
          msg: 'Unknown field.',
        }));
      }
      if (issue.input === undefined && issue.path.length > 0) {
        return [{ type: 'missing', loc, msg: 'Field required.' }];
      }
      return [{ type: issue.code, loc, msg: issue.message }];
    }),
  };
}
