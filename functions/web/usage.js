// What was used today and this month, beside the limits.
import { call } from "./api.js";
import { $ } from "./elements.js";

const NEARLY = 0.8;

export async function showUsage() {
  const { today, month, reserved_usd: reserved, limits } = await call("v1/me/usage");
  const [used, limit] = [Number(today.cost_usd) + Number(reserved), Number(limits.daily_usd)];
  const share = limit ? Math.min(1, used / limit) : 1;
  const meter = $("usage-meter");
  meter.value = share;
  meter.textContent = `${Math.round(share * 100)} %`;
  $("usage").classList.toggle("nearly", share >= NEARLY);
  $("usage-today").textContent = `${dollars(used)} of ${dollars(limit)}`;
  meter.title = `At most ${limits.requests_per_minute} questions a minute`;
  const answers = `${today.requests.toLocaleString("en")} ${today.requests === 1 ? "answer" : "answers"} today`;
  $("usage-more").textContent = `${answers}, ${month.requests.toLocaleString("en")} this month for ${dollars(month.cost_usd)}`;
}

/** A sum as people write it: cents where there are any, else as many places as it takes. */
export function dollars(amount) {
  const number = Number(amount);
  const places = number === 0 || number >= 0.1 ? 2 : Math.min(6, 1 - Math.floor(Math.log10(number)));
  return `$${number.toFixed(places)}`;
}
