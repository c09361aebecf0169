// Times on every page: in the reader's own zone and language, and how long ago.
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];
const lang = document.documentElement.lang || "en";
const ago = new Intl.RelativeTimeFormat(lang, { numeric: "auto" });
const full = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "medium" });

export function showTimes() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    const seconds = (moment - Date.now()) / 1000;
    const [unit, size] = UNITS.find((step) => Math.abs(seconds) >= step[1]) || ["second", 1];
    const text = ago.format(Math.trunc(seconds / size), unit);
    if (time.textContent !== text) time.textContent = text;
    time.title = full.format(moment);
  }
}

setInterval(showTimes, 5000);
showTimes();
