// Tells the service the viewer's time zone before anything is drawn: no module, so that nothing jumps.
// Without it times are in UTC, as the line above the table says.
{
  const page = document.documentElement.dataset;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone) {
    document.cookie = `tz=${zone}; path=/; max-age=31536000; samesite=lax`;
    // Once per zone: where cookies are refused the page must not load for ever. A zone that was chosen stays.
    if (page.tz !== zone && !("chosen" in page) && sessionStorage.getItem("tz") !== zone) {
      sessionStorage.setItem("tz", zone);
      location.replace(location.href);
    }
  }
}
