import { faultsOf } from '../base/errors.ts';
import { type ProfileName, profiles } from './profiles.ts';
import { type ListPolicy, listSettings, type SettingName, settingNames } from './settings.ts';

/** Where the value of a setting comes from. */
export type Origin = 'default' | 'site' | 'profile' | 'list';

const fault = faultsOf({
  'profile-unknown': (d: { profile: string; known: readonly string[] }) =>
    `There is no profile "${d.profile}": there are ${d.known.join(', ')}`,
});

/**
 * The policy of a list: its own settings over those of its profile, over the site's `defaults:`, over the table's
 * defaults; and for each value where it comes from. Throws Fault `profile-unknown`.
 */
export function resolvePolicy(d: {
  readonly site: Partial<ListPolicy>;
  readonly profile: string | null;
  readonly list: Partial<ListPolicy>;
}): { readonly policy: ListPolicy; readonly origin: Readonly<Record<SettingName, Origin>> } {
  const levels: readonly (readonly [Origin, Partial<ListPolicy>])[] = [
    ['list', d.list],
    ['profile', d.profile === null ? {} : profileSettings(d.profile)],
    ['site', d.site],
  ];
  const values: [SettingName, unknown][] = [];
  const origins: [SettingName, Origin][] = [];
  for (const name of settingNames) {
    const level = levels.find(([, settings]) => settings[name] !== undefined && settings[name] !== null);
    values.push([name, level ? level[1][name] : listSettings[name].default]);
    origins.push([name, level ? level[0] : 'default']);
  }
  return Object.freeze({
    policy: Object.freeze(Object.fromEntries(values)) as ListPolicy,
    origin: Object.freeze(Object.fromEntries(origins)) as Record<SettingName, Origin>,
  });
}

function profileSettings(name: string): Partial<ListPolicy> {
  if (Object.hasOwn(profiles, name)) return profiles[name as ProfileName];
  throw fault('profile-unknown', { profile: name, known: Object.keys(profiles) });
}
